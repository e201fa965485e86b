import assert from "node:assert/strict";
import test from "node:test";

import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Metadata, status } from "@grpc/grpc-js";

import { failureOf } from "./failure.js";
import { ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";

function trailers(details: Uint8Array, pushback: string): Metadata {
  const made = new Metadata();
  made.set("grpc-status-details-bin", Buffer.from(details));
  made.set("grpc-retry-pushback-ms", pushback);
  return made;
}

test("an ErrorInfo of another domain is not the gateway's", () => {
  for (const domain of ["allocation.v1", "example.com"]) {
    const info = create(ErrorInfoSchema, { reason: "A_REASON", domain, metadata: { effect: "none" } });
    const details = toBinary(StatusSchema, create(StatusSchema, { details: [anyPack(ErrorInfoSchema, info)] }));
    const { isOfGateway, told } = failureOf(status.UNAVAILABLE, "", trailers(details, "0"));
    const isOurs = domain === "allocation.v1";
    assert.deepEqual([isOfGateway, told.reason, told.effect], isOurs ? [true, "A_REASON", "none"] : [false, "", ""]);
  }
});

test("what cannot be read is none, and a pushback means never", () => {
  for (const details of [new Uint8Array([0xff, 0xff]), new Uint8Array()]) {
    const { isOfGateway, pushbackMs } = failureOf(status.UNKNOWN, "", trailers(details, "soon"));
    assert.deepEqual([isOfGateway, pushbackMs], [false, -1]);
  }
});
