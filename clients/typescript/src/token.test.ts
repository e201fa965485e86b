import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import { Client } from "./client.js";
import { TokenFile } from "./token.js";

test("a token is followed, and kept while its file holds none", async (context) => {
  const folder = mkdtempSync(join(tmpdir(), "token-"));
  context.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "token");
  assert.throws(() => new TokenFile(file), { code: "ENOENT" });
  for (const none of ["\n", "two\nlines"]) {
    writeFileSync(file, none);
    assert.throws(() => new TokenFile(file), /token/);
  }
  writeFileSync(file, "first\n");
  const token = new TokenFile(file, 0);
  assert.equal(await token.current(), "first");
  writeFileSync(file, "second");
  assert.equal(await token.current(), "second");
  for (const none of ["", "two\nlines"]) {
    writeFileSync(file, none);
    assert.equal(await token.current(), "second");
  }
  rmSync(file);
  assert.equal(await token.current(), "second");
});

test("half a certificate, and a token in the open, are refused", () => {
  assert.throws(() => new Client("127.0.0.1:1", { plaintext: true, tokenFile: "token" }), /plaintext/);
  assert.throws(() => new Client("127.0.0.1:1", { plaintext: true, tls: {} }), /plaintext/);
  assert.throws(() => new Client("127.0.0.1:1", { tls: { cert: "a certificate" } }), /belong together/);
});
