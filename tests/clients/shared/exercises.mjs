// What the programs of JavaScript clients share: where the server is, and a line of JSON for each thing that was exercised.
import { readFileSync } from "node:fs";

export const SERVER = process.env.PINXIT_SERVER;
export const KEY = process.env.PINXIT_KEY;

// Pictures of 256 by 256 in the folder in which a program runs; the left half of the mask is transparent.
export const robot = () => readFileSync("robot.png");
export const mask = () => readFileSync("mask.png");

// Runs a function under a name: it passes when it returns. What fails sets the exit status, and the next one follows.
export async function exercise(what, run) {
  let passed = true;
  try {
    await run();
  } catch (error) {
    console.error(error);
    passed = false;
    process.exitCode = 1;
  }
  console.log("\n" + JSON.stringify({ exercised: what, passed }));
}

// [width, height] of what must be a PNG: bytes, or base64.
export function pngSize(data) {
  const bytes = Buffer.from(data, typeof data === "string" ? "base64" : undefined);
  if (bytes.subarray(1, 4).toString("latin1") !== "PNG") throw new Error(`no PNG: ${bytes.subarray(0, 40)}`);
  return [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
}
