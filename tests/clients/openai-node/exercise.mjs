// The official client for JavaScript: every method of its images and models, and every class of its errors.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { createServer } from "node:net";
import * as errors from "openai";
import { toFile } from "openai";
import { KEY, SERVER, exercise, pngSize, robot } from "./exercises.mjs";

// Configured:
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${SERVER}/v1`, apiKey: KEY });
// Used:

const small = { size: "256x256", quality: "low" };
const fetched = async (url) => pngSize(Buffer.from(await (await fetch(url)).arrayBuffer()));
const gathered = async (stream) => {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
};

await exercise("generate", async () => {
  const answer = await client.images.generate({ model: "gpt-image-1", prompt: "A cute baby sea otter", n: 2, ...small });
  for (const { url } of answer.data) assert.deepEqual(await fetched(url), [256, 256]);
  assert.equal(answer.data.length, 2);
  assert.ok(answer.usage.total_tokens > 0);
});

await exercise("`response_format`", async () => {
  const answer = await client.images.generate({ prompt: "a lemon", response_format: "b64_json", ...small });
  assert.deepEqual(pngSize(answer.data[0].b64_json), [256, 256]);
});

await exercise("`output_format`", async () => {
  const answer = await client.images.generate({ prompt: "a lemon", output_format: "url", seed: 7, ...small });
  assert.deepEqual(await fetched(answer.data[0].url), [256, 256]);
  assert.equal(answer.data[0].seed, 7);
});

await exercise("stream with partial images", async () => {
  const events = await gathered(
    await client.images.generate({ prompt: "a red apple", stream: true, partial_images: 3, size: "256x256" }),
  );
  const types = events.map((event) => event.type);
  assert.deepEqual(types, [...Array(3).fill("image_generation.partial_image"), "image_generation.completed"]);
  for (const event of events) assert.deepEqual(pngSize(event.b64_json), [256, 256]);
});

await exercise("edit with a list and a mask", async () => {
  const image = [await toFile(robot(), "robot.png", { type: "image/png" })];
  const answer = await client.images.edit({ image, mask: createReadStream("mask.png"), prompt: "a robot", ...small });
  assert.deepEqual(await fetched(answer.data[0].url), [256, 256]);
});

await exercise("edit as a stream", async () => {
  const stream = await client.images.edit({
    image: createReadStream("robot.png"), prompt: "a robot", stream: true, partial_images: 1, size: "256x256",
  });
  const types = (await gathered(stream)).map((event) => event.type);
  assert.deepEqual(types, ["image_edit.partial_image", "image_edit.completed"]);
});

await exercise("variations", async () => {
  const answer = await client.images.createVariation({ image: createReadStream("robot.png"), n: 2, size: "256x256" });
  assert.equal(new Set(answer.data.map((picture) => picture.url)).size, 2);
});

await exercise("models", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.ok(ids.includes("otter-1"));
  assert.equal((await client.models.retrieve("gpt-image-1")).id, "otter-1");
});

await exercise("`withResponse`", async () => {
  const { data, response } = await client.images.generate({ prompt: "a lemon", ...small }).withResponse();
  assert.equal(response.headers.get("x-pinxit-model"), "otter-1");
  assert.ok(data._request_id.startsWith("req_"));
});

await exercise("`responses` with `image_generation`", async () => {
  const tools = [{ type: "image_generation", ...small }];
  const { output } = await client.responses.create({ model: "gpt-5", input: "a red apple", tools });
  const [call] = output.filter((item) => item.type === "image_generation_call");
  assert.deepEqual(pngSize(call.result), [256, 256]);
});

// The error of this very class that an order raises.
async function refusal(kind, request = {}, options = {}, from = client) {
  try {
    await from.images.generate({ prompt: "a lemon", ...small, ...request }, options);
  } catch (error) {
    if (error.constructor !== kind) throw error;
    return error;
  }
  throw new Error(`no ${kind.name}`);
}

await exercise("every class of error", async () => {
  const once = { maxRetries: 0 };
  assert.equal((await refusal(errors.BadRequestError, { prompt: " " })).param, "prompt");
  await refusal(errors.AuthenticationError, {}, {}, client.withOptions({ apiKey: `sk-${"x".repeat(43)}` }));
  const reader = client.withOptions({ apiKey: process.env.PINXIT_READING_KEY });
  await refusal(errors.PermissionDeniedError, {}, {}, reader);
  assert.equal((await refusal(errors.NotFoundError, { model: "no-such-model" })).type, "model_not_found");
  const headers = { "x-pinxit-generation": `gen_${randomBytes(16).toString("hex")}` };
  await client.images.generate({ prompt: "a lemon", ...small }, { headers });
  await refusal(errors.ConflictError, {}, { headers, ...once });
  assert.equal((await refusal(errors.UnprocessableEntityError, { size: "123x45" })).param, "size");
  const hasty = client.withOptions({ apiKey: process.env.PINXIT_HASTY_KEY });
  await hasty.images.generate({ prompt: "a lemon", n: 2, ...small });
  const tooMuch = await refusal(errors.RateLimitError, {}, once, hasty);
  assert.ok(Number(tooMuch.headers.get("retry-after")) > 0);
  const late = await refusal(errors.InternalServerError, { n: 10, deadline_seconds: 0.001 }, once);
  assert.deepEqual([late.status, late.type], [504, "upstream_timeout"]);
  await refusal(errors.APIConnectionTimeoutError, {}, { timeout: 1, ...once });
  const nobody = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => nobody.once("listening", resolve));
  const { port } = nobody.address();
  await new Promise((resolve) => nobody.close(resolve));
  const lost = client.withOptions({ baseURL: `http://127.0.0.1:${port}/v1` });
  await refusal(errors.APIConnectionError, {}, once, lost);
});

await exercise("sent again after a timeout, painted once", async () => {
  const prompt = "a lemon for somebody in a hurry with Node";
  const request = { prompt, num_inference_steps: 50 };
  const { data, response } = await client.images.generate(request, { timeout: 150, maxRetries: 10 }).withResponse();
  assert.equal(response.headers.get("idempotent-replayed"), "true");
  const kept = (await client.get("/images?limit=100")).data;
  assert.equal(kept.filter((image) => image.prompt === prompt).length, 1);
  assert.equal(data.data.length, 1);
});
