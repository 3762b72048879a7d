// Azurite keeps its metadata in LokiJS, which sorts all indices of a collection anew when a batch of documents is
// removed, also of none and of one. Azurite removes expired messages, mostly none, at each request to a queue, and
// once a minute the contents of deleted messages one by one: thousands of messages make each request slow, and stop all
// three services for many seconds. What is removed stays the same here; none costs nothing, and one is removed as
// LokiJS removes a single document, which corrects its indices in place.
'use strict';

const path = require('path');

const Loki = require(require.resolve('lokijs', { paths: [path.dirname(process.argv[1])] }));
const collection = Loki.Collection.prototype;
const { removeBatch, removeBatchByPositions } = collection;

collection.removeBatch = function (batch) {
  if (batch.length > 0) {
    removeBatch.call(this, batch);
  }
};

collection.removeBatchByPositions = function (positions) {
  if (positions.length > 1) {
    removeBatchByPositions.call(this, positions);
  } else if (positions.length === 1) {
    this.remove(this.data[positions[0]]);
  }
};
