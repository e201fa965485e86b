import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";

const CHECK_MS = 1000;
// What else would be is no value of a header.
const TOKEN = /^[\x21-\x7e]+$/;

/** A bearer token in a file that may be replaced at any time, as Kubernetes does with projected tokens. */
export class TokenFile {
  readonly #file: string | URL;
  readonly #checkMs: number;
  #token: string;
  #readAt: number;

  /**
   * Reads the file.
   *
   * @throws Error: It cannot be read, or holds no token.
   */
  constructor(file: string | URL, checkMs = CHECK_MS) {
    this.#file = file;
    this.#checkMs = checkMs;
    this.#token = readFileSync(file, "utf8").trim();
    this.#readAt = performance.now();
    if (!TOKEN.test(this.#token)) {
      throw new Error(`The token file ${String(file)} is empty, or is not a token`);
    }
  }

  /** Returns the token of at most a second ago; the one before it while the file cannot be read or holds none. */
  async current(): Promise<string> {
    const now = performance.now();
    if (now - this.#readAt >= this.#checkMs) {
      this.#readAt = now;
      const read = (await readFile(this.#file, "utf8").catch(() => "")).trim();
      this.#token = TOKEN.test(read) ? read : this.#token;
    }
    return this.#token;
  }
}
