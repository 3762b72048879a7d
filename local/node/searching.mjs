// Searches among 10,000 resources without 10,000 evaluations: what the inherited search reads again for each resource and
// each comparison is read once for each stored version. A stored version never changes, so no value can be out of date;
// with the version, its values go.

// R4 shares a search parameter among types ("AllergyIntolerance.patient | CarePlan.subject... | ..."), and a path of
// another type finds nothing in a resource, but costs as much as its own.
export function keepOwnPaths(core) {
  for (const [type, { searchParams }] of Object.entries(core.globalSchema.types)) {
    for (const [code, parameter] of Object.entries(searchParams ?? {})) {
      const own = alternatives(parameter.expression ?? '').filter((path) => !isOfOther(core, type, path));
      if (own.length) searchParams[code] = { ...parameter, expression: own.join(' | ') };
    }
  }
}

function alternatives(expression) {
  const paths = [''];
  let depth = 0;
  for (const letter of expression) {
    depth += (letter === '(') - (letter === ')');
    if (letter === '|' && depth === 0) paths.push('');
    else paths[paths.length - 1] += letter;
  }
  return paths.map((path) => path.trim()).filter(Boolean);
}

function isOfOther(core, type, path) {
  const first = /^\(*([A-Z]\w*)\./u.exec(path)?.[1];
  return first !== undefined && first !== type && core.isResourceType(first);
}

const ONE_WORD = /^[^,|\\]+$/u; // no list, no system, no escape
const ONE_REFERENCE = /^[A-Z]\w*\/[^,|\\/]+$/u;

function compare(keys, others, rules) {
  const at = keys.findIndex((key, i) => key !== others[i]); // the first rule decides first: R4 3.1.1.4.7
  if (at < 0) return 0;
  return keys[at] < others[at] === Boolean(rules[at].descending) ? 1 : -1;
}

export class SearchValues {
  constructor(core) {
    this.core = core;
    this.paths = new Map(); // expression -> its parsed form
    this.read = new WeakMap(); // stored version -> Map of what was read of it
  }

  // The resources that match, in the order that is asked for.
  matching(resources, { resourceType, filters = [], sortRules = [] }) {
    const tests = filters.map((filter) => this.test(resourceType, filter));
    const found = [...resources].filter((resource) => tests.every((test) => test(resource)));
    const rules = sortRules.filter(({ code }) => this.parameter(resourceType, code));
    if (!rules.length) return found;
    const keyed = found.map((resource) => ({ resource, keys: rules.map(({ code }) => this.sortKey(resource, code)) }));
    return keyed.sort((a, b) => compare(a.keys, b.keys, rules)).map(({ resource }) => resource);
  }

  // What is sorted by most is read when it is written, so that the first search is as quick as the next.
  add(resource) {
    this.sortKey(resource, '_lastUpdated');
  }

  test(resourceType, filter) {
    const { code, operator, value } = filter;
    const type = this.parameter(resourceType, code)?.type;
    const single = ONE_WORD.test(value);
    const day = single && type === 'date' && this.core.convertToSearchableDates([{ value }])[0];
    if (day && operator === 'ge') return (resource) => this.dates(resource, code).some(({ end }) => (end ?? '9999') >= day.start);
    if (day && operator === 'le') return (resource) => this.dates(resource, code).some(({ start }) => (start ?? '0000') <= day.end);
    if (single && type === 'token' && operator === 'eq') return (resource) => this.tokens(resource, code).has(value.toLowerCase());
    const references = type === 'reference' && operator === 'eq' && value.split(',');
    if (references && references.every((each) => ONE_REFERENCE.test(each))) {
      return (resource) => references.some((each) => this.references(resource, code).has(each));
    }
    return (resource) => this.core.matchesSearchRequest(resource, { resourceType, filters: [filter] });
  }

  sortKey(resource, code) {
    return this.once(resource, `sort ${code}`, () => {
      const { type } = this.parameter(resource.resourceType, code);
      return type === 'date' ? (this.dates(resource, code)[0]?.start ?? '') : JSON.stringify(this.values(resource, code).map(({ value }) => value));
    });
  }

  dates(resource, code) {
    return this.once(resource, `dates ${code}`, () => this.core.convertToSearchableDates(this.values(resource, code)));
  }

  tokens(resource, code) {
    return this.once(resource, `tokens ${code}`, () =>
      new Set(this.core.convertToSearchableTokens(this.values(resource, code)).map(({ value }) => value?.toLowerCase())));
  }

  references(resource, code) {
    return this.once(resource, `references ${code}`, () => new Set(this.core.convertToSearchableReferences(this.values(resource, code))));
  }

  values(resource, code) {
    const { expression } = this.parameter(resource.resourceType, code);
    if (!this.paths.has(expression)) this.paths.set(expression, this.core.parseFhirPath(expression));
    return this.paths.get(expression).eval({ variables: {} }, [this.core.toTypedValue(resource)]);
  }

  parameter(resourceType, code) {
    const parameter = this.core.globalSchema.types[resourceType]?.searchParams?.[code];
    return parameter?.expression ? parameter : undefined;
  }

  once(resource, name, compute) {
    if (!this.read.has(resource)) this.read.set(resource, new Map());
    const values = this.read.get(resource);
    if (!values.has(name)) values.set(name, compute());
    return values.get(name);
  }
}
