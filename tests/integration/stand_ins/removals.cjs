// Removes from a LokiJS collection by a schedule that a seed gives, and prints what is left, what each index finds, and
// how often all indices were sorted anew.
'use strict';

const Loki = require('lokijs');

const [seed, documents] = process.argv.slice(2).map(Number);
let state = seed;
const random = (below) => {
  state = (state * 48271) % 2147483647;
  return state % below;
};

const collection = new Loki('x', { persistenceMethod: 'memory' }).addCollection('c', { indices: ['id', 'queue', 'due'] });
for (let number = 0; number < documents; number += 1) {
  collection.insert({ id: `id-${random(1e9)}-${number}`, queue: `q${random(3)}`, due: random(50) });
}

let sorted = 0;
const sortAll = collection.ensureAllIndexes;
collection.ensureAllIndexes = function (...how) {
  sorted += 1;
  return sortAll.apply(this, how);
};
const asked = process.argv[4] === 'several' ? 4 : 3;
for (let step = 0; step < documents / 2; step += 1) {
  const any = collection.data[random(collection.data.length)];
  const how = random(asked);
  if (how === 0) collection.remove(collection.chain().find({ queue: any.queue, due: { $lt: 0 } }).data());
  if (how === 1) collection.findAndRemove({ id: 'unknown' });
  if (how === 2) collection.findAndRemove({ id: any.id });
  if (how === 3) collection.findAndRemove({ queue: any.queue, due: any.due });
}
const found = {};
for (const { id } of collection.data) found[id] = collection.find({ id }).length;
const queues = ['q0', 'q1', 'q2'].map((queue) => collection.find({ queue }).map((one) => one.id).sort());
const due = collection.find({ due: { $lte: 25 } }).map((one) => one.id).sort();
console.log(JSON.stringify({ left: collection.data.map((one) => one.id), found, queues, due }));
console.log(sorted);
