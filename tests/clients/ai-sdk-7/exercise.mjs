// Vercel's AI SDK with both of its providers. Not all of them say how pictures are to come, and all read `b64_json`.
import assert from "node:assert/strict";
import { APICallError, generateImage, generateText } from "ai";
import { KEY, SERVER, exercise, mask, pngSize, robot } from "./exercises.mjs";

// Configured:
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";

const pinxit = createOpenAICompatible({ name: "pinxit", baseURL: `${SERVER}/v1`, apiKey: KEY });
// Used:
import { createOpenAI } from "@ai-sdk/openai";

const openai = createOpenAI({ baseURL: `${SERVER}/v1`, apiKey: KEY });
const size = "256x256";

await exercise("generate", async () => {
  const { images } = await generateImage({ model: pinxit.imageModel("otter-1"), prompt: "a red apple", n: 2, size });
  assert.deepEqual(images.map((image) => pngSize(image.uint8Array)), [[256, 256], [256, 256]]);
  assert.deepEqual(images.map((image) => image.mediaType), ["image/png", "image/png"]);
});

await exercise("edit with a mask", async () => {
  const prompt = { text: "a robot, 3d style", images: [robot()], mask: mask() };
  const { image } = await generateImage({ model: pinxit.imageModel("otter-1"), prompt, size });
  assert.deepEqual(pngSize(image.uint8Array), [256, 256]);
});

await exercise("generate with `@ai-sdk/openai`", async () => {
  for (const name of ["gpt-image-1", "dall-e-3", "otter-1"]) {
    const { image } = await generateImage({ model: openai.image(name), prompt: "a lemon", size });
    assert.deepEqual(pngSize(image.uint8Array), [256, 256]);
  }
});

await exercise("provider options", async () => {
  const { image, providerMetadata } = await generateImage({
    model: openai.image("gpt-image-1"), prompt: "a lemon", size,
    providerOptions: { openai: { quality: "low", background: "opaque", outputFormat: "webp", outputCompression: 80 } },
  });
  assert.equal(image.mediaType, "image/webp");
  assert.equal(providerMetadata.openai.images[0].quality, "low");
});

await exercise("edit with `@ai-sdk/openai`", async () => {
  const prompt = { text: "a robot, 3d style", images: [robot()], mask: mask() };
  const { image } = await generateImage({ model: openai.image("gpt-image-1"), prompt, size });
  assert.deepEqual(pngSize(image.uint8Array), [256, 256]);
});

await exercise("`generateText` with the tool `imageGeneration`", async () => {
  const tools = { image_generation: openai.tools.imageGeneration({ size: "auto", quality: "low" }) };
  const { staticToolResults } = await generateText({ model: openai.responses("gpt-5"), prompt: "a lemon", tools });
  assert.equal(staticToolResults.length, 1);
  assert.deepEqual(pngSize(staticToolResults[0].output.result), [512, 512]);
});

await exercise("errors", async () => {
  for (const provider of [pinxit, openai]) {
    const order = generateImage({ model: provider.imageModel("no-such-model"), prompt: "a lemon", maxRetries: 0 });
    const refused = await order.then(() => assert.fail("no error"), (error) => error);
    assert.ok(APICallError.isInstance(refused), refused);
    assert.equal(refused.statusCode, 404);
    assert.equal(refused.isRetryable, false);
    assert.match(refused.message, /no-such-model/);
  }
});
