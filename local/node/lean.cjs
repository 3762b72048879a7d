// Leaves out of Azurite what nobody here asks of it, and what each of its many starts and requests pays for: the lines
// of the access log about queues and tables (events are made of those about blobs), and the library of the telemetry
// that is switched off, a third of what is loaded.
'use strict';

const path = require('path');

const azurite = path.dirname(process.argv[1]);

const telemetry = require.resolve('applicationinsights', { paths: [azurite] });
require.cache[telemetry] = { id: telemetry, filename: telemetry, loaded: true, children: [], paths: [], exports: {} };

for (const service of ['Queue', 'Table']) {
  const { default: Listener } = require(path.join(azurite, service.toLowerCase(), `${service}RequestListenerFactory`));
  const { createRequestListener } = Listener.prototype;

  Listener.prototype.createRequestListener = function () {
    this.enableAccessLog = false;
    return createRequestListener.call(this);
  };
}
