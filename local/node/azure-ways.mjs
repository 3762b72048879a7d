// What microsoft/fhir-server (the FHIR service of Azure Health Data Services) does differently from the embedded server.
// Each rule names its source there, read at commit 14f52857e (2026-08). Not imitated: SQL Server's best-fit conversion of
// letters beyond Windows-1252, throttling, and its laxness about missing elements below the top level of a resource.

const MAX_ENTRIES = 500; // BundleHandler.cs:591
const MAX_COUNT = 1000; // appsettings.json, MaxItemCountPerSearch
const DEFAULT_COUNT = 10; // appsettings.json, DefaultItemCountPerSearch
export const MAX_BODY = 30_000_000; // Kestrel's own limit
const BY_ID = /^([A-Za-z]+)\/([A-Za-z0-9.-]{1,64})$/u;
const IF_MATCH = /^W\/"([^"]*)"$/u; // WeakETag.cs
const TIME = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)$/u;
const INSTANTS = new Set(['issued', 'DocumentReference.date', 'effectiveInstant', 'valueInstant']);
const TIMES = new Set(['started', 'effectiveDateTime', 'valueDateTime', 'authoredOn', 'creation', 'start', 'end', 'date', ...INSTANTS]);
const CONTROL = new Set(['_count', '_elements', '_sort', '_summary', '_total', '_include', '_revinclude', '_id', '_lastUpdated', '_tag', '_profile', '_security', '_type', '_has', '_not-referenced', 'ct']);
const IN_1252 = '€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ';

// TokenSearchParam.sql:7: the index is varchar, so what Windows-1252 lacks is a question mark.
export const indexed = (text) => [...Array(text.length).keys()]
  .map((i) => (text.charCodeAt(i) <= 0xff || IN_1252.includes(text[i]) ? text[i] : '?')).join('');

const outcome = (code, diagnostics) => ({ resourceType: 'OperationOutcome', issue: [{ severity: 'error', code, diagnostics }] });

class Refusal extends Error {
  constructor(status, code, diagnostics) {
    super(diagnostics);
    Object.assign(this, { status, outcome: outcome(code, diagnostics) });
  }
}

// A 400 names its path in diagnostics only: OperationOutcomeIssue of a transaction keeps severity, code and diagnostics.
export function inDiagnostics(given) {
  if (given?.resourceType !== 'OperationOutcome') return given;
  return { ...given, issue: given.issue.map(({ severity, code, details, diagnostics, expression }) => ({
    severity, code, diagnostics: [diagnostics ?? details?.text, expression ? `(at ${expression[0]})` : ''].join(' ').trim() })) };
}

// Firely 5.x: DateTimeOffset has no second 60 and the years 1-9999 in UTC only; decimal(36,18) ends at 10^18.
export function refuseValues(node, path) {
  if (Array.isArray(node)) return node.forEach((each, i) => refuseValues(each, `${path}[${i}]`));
  if (node && typeof node === 'object') {
    return Object.entries(node).forEach(([name, value]) => refuseValues(value, `${path}.${name}`));
  }
  const name = path.split('.').at(-1).replace(/\[\d+\]/u, '');
  if (typeof node === 'number' && Math.abs(node) >= 1e18) throw new Refusal(400, 'invalid', `A number is too large. (at ${path})`);
  if (typeof node === 'string' && TIMES.has(name) && node.includes('T') && !isMoment(node)) {
    throw new Refusal(400, 'invalid', `Literal '${node}' cannot be parsed as a dateTime. (at ${path})`);
  }
}

function isMoment(text) {
  const match = TIME.exec(text);
  if (!match || match[1].endsWith(':60')) return false;
  const moment = new Date(text.replace(/\.\d+/u, ''));
  return !Number.isNaN(moment.getTime()) && moment.getUTCFullYear() >= 1 && moment.getUTCFullYear() <= 9999;
}

// PrimitiveTypeConverter: an instant is a DateTimeOffset, so its fraction loses trailing zeros; dateTimes stay as sent.
export function asStored(node, name = '', type = node?.resourceType) {
  if (Array.isArray(node)) return node.map((each) => asStored(each, name, type));
  if (node && typeof node === 'object') {
    return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, asStored(value, key, type)]));
  }
  const match = typeof node === 'string' && (INSTANTS.has(name) || INSTANTS.has(`${type}.${name}`)) && TIME.exec(node);
  if (!match) return node;
  const fraction = (match[2] ?? '').slice(0, 8).replace(/\.?0+$/u, '');
  return `${match[1]}${fraction}${match[3] === 'Z' ? '+00:00' : match[3]}`;
}

const body = ({ id, meta, ...rest }) => JSON.stringify([rest, { ...meta, versionId: undefined, lastUpdated: undefined }], (_, value) =>
  (value && typeof value === 'object' && !Array.isArray(value) ? Object.fromEntries(Object.entries(value).sort()) : value));
export const isUnchanged = (before, now) => body(before) === body(now); // SqlServerFhirDataStore.cs:362

export class AzureWays {
  constructor(core, repository, single) {
    Object.assign(this, { core, repository, single });
    this.ignored = []; // what searches asked for in vain, for tests: /_ignored
  }

  held = (type, id) => this.repository.resources.get(type)?.get(id);

  wasDeleted = (type, id) => !this.held(type, id) && this.repository.versions.has(`${type}/${id}`); // 410, not 404

  async bundle(given) {
    try {
      const entries = given.entry ?? [];
      if (entries.length > MAX_ENTRIES) throw new Refusal(400, 'invalid', `The number of entries in the bundle exceeded ${MAX_ENTRIES}.`);
      return given.type === 'transaction' ? this.transaction(entries) : await this.batch(entries);
    } catch (problem) {
      if (problem instanceof Refusal) return [problem.status, problem.outcome];
      if (problem.outcome) return [400, inDiagnostics(problem.outcome)];
      throw problem;
    }
  }

  async batch(entries) {
    const answers = [];
    for (const { request, resource } of entries) {
      const [status, content] = await this.single(request.method, `/${request.url.replace(/^\//u, '')}`, resource, request);
      const response = { status: String(status) };
      if (content?.meta?.versionId) response.etag = `W/"${content.meta.versionId}"`;
      if (content?.resourceType === 'OperationOutcome') response.outcome = content;
      answers.push(response.outcome ? { response } : { resource: content, response });
    }
    return [200, { resourceType: 'Bundle', type: 'batch-response', entry: answers }];
  }

  // Atomic; nothing runs in between, because nothing here waits.
  transaction(entries) {
    const seen = new Set();
    for (const { request, resource } of entries) {
      const [, type, id] = BY_ID.exec(request?.url ?? '') ?? [];
      if (!type || !['PUT', 'DELETE'].includes(request.method)) throw new Refusal(400, 'not-supported', 'Here only PUT and DELETE by id.');
      if (seen.size === seen.add(request.url.toLowerCase()).size) throw new Refusal(400, 'invalid', 'The bundle contains a resource twice.');
      if (request.method === 'PUT') this.check(type, id, resource, request.ifMatch);
    }
    const ordered = [...entries.keys()].sort((a, b) => (entries[a].request.method === 'PUT') - (entries[b].request.method === 'PUT'));
    const answers = [];
    for (const i of ordered) answers[i] = entries[i].request.method === 'PUT' ? this.put(entries[i].resource) : this.remove(entries[i].request.url);
    return [200, { resourceType: 'Bundle', type: 'transaction-response', entry: answers }];
  }

  check(type, id, resource, ifMatch) {
    if (resource?.resourceType !== type || resource.id !== id) throw new Refusal(400, 'invalid', 'Type or id is not that of the URL.');
    if (ifMatch !== undefined) {
      const [, version] = IF_MATCH.exec(ifMatch) ?? [];
      if (version === undefined) throw new Refusal(400, 'invalid', 'The ETag is not weak.');
      if (!this.repository.versions.has(`${type}/${id}`)) throw new Refusal(404, 'not-found', 'Nothing to update.'); // :311
      if (this.held(type, id)?.meta.versionId !== version) throw new Refusal(412, 'conflict', 'Another version.'); // :290
    }
    refuseValues(resource, type);
    this.core.validateResource(resource);
  }

  put(resource) {
    const before = this.held(resource.resourceType, resource.id);
    const stored = this.repository.createResourceSync(resource, {}, true);
    const { versionId, lastUpdated } = stored.meta;
    const location = `${resource.resourceType}/${resource.id}/_history/${versionId}`;
    return { resource: stored, response: { status: before ? '200' : '201', etag: `W/"${versionId}"`, lastModified: lastUpdated, location } };
  }

  remove(url) { // DeletionService.cs:111: soft, and never refused because others refer to it
    const [, type, id] = BY_ID.exec(url);
    const before = this.held(type, id);
    if (before) {
      this.repository.resources.get(type).delete(id);
      this.repository.forget(before);
      const version = this.repository.versions.get(url) + 1;
      this.repository.versions.set(url, version);
      // CreateSoftDeletedWrapper: the deletion is a version too, a resource with nothing but its type and id
      const meta = { versionId: String(version), lastUpdated: new Date().toISOString() };
      this.repository.history.get(type).get(id).push({ resourceType: type, id, meta });
    }
    return { response: { status: '204' } };
  }

  version(resource, root) { // BundleFactory.CreateHistoryBundle: deletions too have a resource, and their method
    const { resourceType, id, meta, ...content } = resource;
    const [url, tag] = [`${resourceType}/${id}`, `W/"${meta.versionId}"`];
    const method = Object.keys(content).length ? 'PUT' : 'DELETE';
    return { fullUrl: `${root}/${url}/_history/${meta.versionId}`, resource, request: { method, url }, response: { etag: tag, lastModified: meta.lastUpdated } };
  }

  // A search that is lenient leaves out what it cannot do, with a warning; with Prefer: handling=strict it is refused.
  ignore(asked, name, strict, why) {
    if (strict) throw new Refusal(400, 'not-supported', why);
    asked.warnings = [...(asked.warnings ?? []), why];
    this.ignored.push(`${name}: ${why}`);
  }

  // SortingValidator of the SQL store: one key, of type date or string; else it comes unsorted.
  checkSort(type, asked, known, strict) {
    const keys = [asked._sort].flat().join(',').split(',').map((key) => key.replace(/^-/u, ''));
    if (keys.length === 1 && (keys[0] === '_lastUpdated' || ['date', 'string'].includes(known[keys[0]]?.type))) return;
    delete asked._sort;
    this.ignore(asked, `${type}?_sort`, strict, 'The requested "_sort" order is not supported.');
  }

  // What the router is asked instead; 403 where a chain may lead to more than one type (ChainedExpression: ambiguous).
  query(type, given, prefer) {
    const asked = { ...given };
    const strict = prefer?.includes('handling=strict') ?? false;
    const known = this.core.globalSchema.types[type]?.searchParams ?? {};
    for (const name of Object.keys(asked)) {
      const [code, chained] = name.split('.');
      const [plain, target] = code.split(':');
      if (!CONTROL.has(plain) && !known[plain]) { // not in self
        delete asked[name];
        delete given[name];
        this.ignore(asked, `${type}?${plain}`, strict, `The search parameter '${plain}' is not supported for '${type}'.`);
        continue;
      }
      if (!chained || target || plain === '_has') continue;
      const possible = [...(known[plain].target ?? []), ...(plain === 'patient' ? ['Group'] : [])]; // clinical-patient names both
      const targets = possible.filter((each) => this.core.globalSchema.types[each]?.searchParams?.[chained]);
      if (targets.length !== 1) throw new Refusal(403, 'forbidden', `The reference ${plain} has several possible types.`);
      asked[`${plain}:${targets[0]}.${chained}`] = asked[name];
      delete asked[name];
    }
    for (const name of ['_elements', '_not-referenced', '_count', 'ct', '_total']) delete asked[name];
    if (asked._sort) this.checkSort(type, asked, known, strict);
    const { warnings = [], ...query } = asked;
    return [{ ...query, _count: '1000000', _offset: '0' }, warnings];
  }

  // FhirJsonOutputFormatter.cs:98-149: required elements, meta and what was asked; id only if asked for.
  cut(resource, elements) {
    const required = Object.entries(this.core.getDataType(resource.resourceType).elements).filter(([, element]) => element.min > 0);
    const kept = new Set(['resourceType', 'meta', ...required.map(([name]) => name), ...elements]);
    return Object.fromEntries(Object.entries(resource).filter(([name]) => kept.has(name)));
  }

  page(bundle, type, given, root, warnings) {
    const one = (name) => [given[name]].flat().at(-1);
    const count = Math.min(Number.parseInt(one('_count') ?? DEFAULT_COUNT, 10), MAX_COUNT);
    const from = one('ct') ? Number.parseInt(Buffer.from(one('ct'), 'base64url').toString(), 10) : 0;
    let entries = bundle.entry ?? [];
    if (one('_not-referenced') !== undefined) {
      const referred = this.referred();
      entries = entries.filter(({ resource }) => !referred.has(`${type}/${resource.id}`));
    }
    const link = (relation, more) => {
      const { ct, ...rest } = given;
      const all = new URLSearchParams(Object.entries({ ...rest, ...more }).flatMap(([name, v]) => [v].flat().map((each) => [name, each])));
      return { relation, url: `${root}/${type}?${all}` };
    };
    const links = [link('self', {})];
    if (from + count < entries.length) links.unshift(link('next', { ct: Buffer.from(String(from + count)).toString('base64url') }));
    const elements = one('_elements')?.split(',');
    const shown = entries.slice(from, from + count).map(({ search, resource }) =>
      ({ fullUrl: `${root}/${type}/${resource.id}`, resource: elements ? this.cut(resource, elements) : resource, search }));
    if (warnings.length) { // BundleFactory.CreateBundle: an outcome comes first
      const issue = warnings.map((diagnostics) => ({ severity: 'warning', code: 'not-supported', diagnostics }));
      shown.unshift({ resource: { resourceType: 'OperationOutcome', issue }, search: { mode: 'outcome' } });
    }
    return { resourceType: 'Bundle', type: 'searchset', link: links, ...(one('_summary') === 'count' ? { total: entries.length } : { entry: shown }), ...(one('_total') === 'accurate' ? { total: entries.length } : {}) };
  }

  referred() {
    const found = new Set();
    const walk = (node) => {
      if (typeof node?.reference === 'string') found.add(node.reference.split('/_history/')[0]);
      if (node && typeof node === 'object') Object.values(node).forEach(walk);
    };
    for (const resources of this.repository.resources.values()) resources.forEach(walk);
    return found;
  }
}
