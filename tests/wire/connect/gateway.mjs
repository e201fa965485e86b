// A gateway that is called by its contract alone, over gRPC by Connect for Node: there is no generated code.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// The packages are beside the lock file that they were installed by, which is not here.
const require = createRequire(`${process.env.MODULES}/`);
const { createFileRegistry, fromBinary } = require("@bufbuild/protobuf");
const { FileDescriptorSetSchema } = require("@bufbuild/protobuf/wkt");
const connect = require("@connectrpc/connect");
const { compressionGzip, createGrpcTransport } = require("@connectrpc/connect-node");

export const { Code, ConnectError, createClient } = connect;

/** Reads a file of descriptors. */
export function contract(path) {
  return createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(path)));
}

/** Opens a transport. Files are the authority's certificate, and the client's certificate and key: none, one or three. */
export function open(address, [authority, certificate, key] = [], { gzip = false } = {}) {
  const read = (path) => path && readFileSync(path);
  return createGrpcTransport({
    baseUrl: `${authority ? "https" : "http"}://${address}`,
    nodeOptions: authority ? { ca: read(authority), cert: read(certificate), key: read(key) } : {},
    ...(gzip ? { sendCompression: compressionGzip, compressMinBytes: 0 } : {}),
  });
}
