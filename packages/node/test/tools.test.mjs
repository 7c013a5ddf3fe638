// Tools and structured output.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { jsonSchema, ProtocolError, tool } from "@kreuzberg/liter-llm";
import { z } from "zod";
import { startMock, story } from "./harness.mjs";

let mock;
before(async () => {
  mock = await startMock();
});
after(() => mock.stop());

const parameters = z.object({ city: z.string() });
/** zod's schemas, also of versions whose schemas do not know their own. */
const schema = { toJSONSchema: () => z.toJSONSchema(parameters), parse: (value) => parameters.parse(value) };

test("a tool goes out as JSON schema, and its call comes back typed", async () => {
  const weather = tool({ name: "weather", description: "The weather", parameters: schema });
  assert.deepEqual(JSON.parse(JSON.stringify(weather)), {
    type: "function",
    function: {
      name: "weather",
      description: "The weather",
      parameters: {
        type: "object",
        properties: { city: { type: "string" } },
        required: ["city"],
        additionalProperties: false,
      },
    },
  });
  const client = mock.client('id=tool; tool=weather:{"city":"Kiel"}; finish=tool_calls');
  const answer = await client.chat({ ...story, tools: [weather] });
  const { message } = answer.choices[0];
  assert.deepEqual(weather.parse(message.tool_calls[0]), { city: "Kiel" });
  await client.chat({
    ...story,
    messages: [...story.messages, message, { role: "tool", tool_call_id: message.tool_calls[0].id, content: "rain" }],
  });
  const sent = (await mock.log("tool")).map(({ body }) => (typeof body === "string" ? JSON.parse(body) : body));
  assert.equal(sent[0].tools[0].function.name, "weather");
  assert.deepEqual(sent[1].messages[1].tool_calls, message.tool_calls);
  assert.throws(() => weather.parse({ function: { name: "weather", arguments: '{"city":1}' } }), z.ZodError);
  assert.throws(() => weather.parse({ function: { name: "weather", arguments: "{" } }), ProtocolError);
});

test("zod's own schemas are taken as they are", { skip: typeof parameters.toJSONSchema !== "function" }, () => {
  assert.equal(tool({ name: "t", parameters }).function.parameters.properties.city.type, "string");
});

test("structured output asks by schema and reads the answer", async () => {
  const format = jsonSchema("place", schema);
  const answer = await mock.client('text={"city":"Kiel"}').chat({ ...story, response_format: format });
  assert.deepEqual(format.parse(answer), { city: "Kiel" });
  assert.equal(JSON.parse(JSON.stringify(format)).json_schema.strict, true);
});
