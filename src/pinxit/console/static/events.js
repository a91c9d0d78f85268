// Server-sent events, read by fetch: EventSource cannot send a body.

export async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").find((each) => each.startsWith("data: "));
      if (data) yield JSON.parse(data.slice(6));
    }
  }
}
