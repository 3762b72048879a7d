// Ends this process when the one that started it is gone, however it went: the starter holds the other end of our
// standard input and never writes to it, so its end is the starter's end. Works wherever there are pipes.
'use strict';

process.stdin.on('end', () => process.exit(0));
process.stdin.on('error', () => process.exit(0));
process.stdin.resume();
