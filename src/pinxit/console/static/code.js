// The order as others would send it: JSON, curl, Python, JavaScript.

const KEY = "<API_KEY>";
// OpenAI's client knows these; the rest goes beside them.
const KNOWN = ["model", "prompt", "n", "size", "quality", "output_format", "background"];

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function python(base, call, files, wanted, known) {
  const fields = Object.entries(wanted);
  const extra = fields.filter(([name]) => !known.includes(name));
  const lines = [
    ...files.map(([name, file]) => `${name}=open("${file}", "rb")`),
    ...fields.filter(([name]) => known.includes(name)).map(([name, value]) => `${name}=${JSON.stringify(value)}`),
  ];
  if (extra.length) lines.push(`extra_body=${JSON.stringify(Object.fromEntries(extra))}`);
  return (
    `from openai import OpenAI\n\nclient = OpenAI(base_url="${base}/v1", api_key="${KEY}")\n` +
    `answer = client.images.${call}(\n    ${lines.join(",\n    ")},\n)\nprint(answer.data[0].url)`
  );
}

function ofGeneration(base, wanted) {
  const json = JSON.stringify(wanted, null, 2);
  const url = `${base}/v1/images/generations`;
  return {
    json,
    curl:
      `curl ${url} \\\n  -H "Authorization: Bearer ${KEY}" \\\n` +
      `  -H "Content-Type: application/json" \\\n  -d ${shell(JSON.stringify(wanted))}`,
    python: python(base, "generate", [], wanted, [...KNOWN, "style"]),
    javascript:
      `const answer = await fetch("${url}", {\n  method: "POST",\n` +
      `  headers: { "Authorization": "Bearer ${KEY}", "Content-Type": "application/json" },\n` +
      `  body: JSON.stringify(${json.replaceAll("\n", "\n  ")}),\n});\nconsole.log((await answer.json()).data[0].url);`,
  };
}

function ofEdit(base, wanted, begun) {
  const url = `${base}/v1/images/edits`;
  const name = begun.name.replace(/[^\w.-]+/g, "-");
  const files = [["image", name], ...(begun.isMasked ? [["mask", "mask.png"]] : [])];
  const fields = Object.entries(wanted);
  const inline = { image_url: "data:image/png;base64,…" };
  return {
    json: JSON.stringify({ ...wanted, images: [inline], ...(begun.isMasked ? { mask: inline } : {}) }, null, 2),
    curl: [
      `curl ${url} -H "Authorization: Bearer ${KEY}"`,
      ...files.map(([field, file]) => `-F ${field}=@${file}`),
      ...fields.map(([field, value]) => `--form-string ${shell(`${field}=${value}`)}`),
    ].join(" \\\n  "),
    python: python(base, "edit", files, wanted, KNOWN),
    javascript: [
      `import { openAsBlob } from "node:fs";\n`,
      `const form = new FormData();`,
      ...files.map(([field, file]) => `form.set("${field}", await openAsBlob("${file}"), "${file}");`),
      ...fields.map(([field, value]) => `form.set("${field}", ${JSON.stringify(String(value))});`),
      `const answer = await fetch("${url}", {\n  method: "POST",`,
      `  headers: { "Authorization": "Bearer ${KEY}" },\n  body: form,\n});`,
      `console.log((await answer.json()).data[0].url);`,
    ].join("\n"),
  };
}

// `begun`: the picture it begins from, or null.
export const codeOf = (base, wanted, begun) => (begun ? ofEdit(base, wanted, begun) : ofGeneration(base, wanted));
