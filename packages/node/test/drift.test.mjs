// The types here are written by hand: each field of the engine's wire and options has its place in them, or a test names it.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";
import ts from "typescript";

const source = join(import.meta.dirname, "..", "src");
const core = join(import.meta.dirname, "..", "..", "..", "core", "src");
const program = ts.createProgram([join(source, "index.ts")], { strict: true, target: ts.ScriptTarget.ES2022 });
const checker = program.getTypeChecker();
const { toConfig } = createRequire(import.meta.url)("../dist/options.js");

/** The structs of the engine's files that are public: each field with its type, its attributes and its name in JSON. */
function structs(...files) {
  const found = new Map();
  for (const file of files) {
    const text = readFileSync(file, "utf8");
    for (const [, name, body] of text.matchAll(/pub struct (\w+)(?: as "[^"]*")? \{\n([\s\S]*?)\n\s*\}\n/g)) {
      const fields = [
        ...body.matchAll(/((?:\s*#\[.*\]\n)*)\s*pub (\w+)(?: as "(\w+)")?: ([^\n=]+?)(?: = always)?,(?=\n|$)/g),
      ];
      found.set(
        name,
        fields.map(([, attributes, field, wire, type]) => ({
          attributes,
          field,
          type,
          wire: wire ?? (field === "kind" ? "type" : field),
        })),
      );
    }
  }
  return found;
}

/** The type at a path such as `Usage.prompt_tokens_details`, as index.ts exports it. */
function typeAt(path) {
  const [name, ...members] = path.split(".");
  const module = checker.getSymbolAtLocation(program.getSourceFile(join(source, "index.ts")));
  const symbol = checker.getExportsOfModule(module).find((symbol) => symbol.name === name);
  assert.ok(symbol, `${name} is exported`);
  const aliased = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  let type = checker.getDeclaredTypeOfSymbol(aliased);
  for (const member of members) {
    const property = type.getProperty(member);
    assert.ok(property, `${path} is there`);
    type = checker.getNonNullableType(checker.getTypeOfSymbol(property));
    type = checker.getIndexTypeOfType(type, ts.IndexKind.Number) ?? type;
  }
  return type;
}

const membersOf = (path) => new Set(checker.getPropertiesOfType(typeAt(path)).map((symbol) => symbol.name));

/** Where the engine's wire types are here; the engine's message is what may be sent and what is answered. */
const wire = {
  ChatCompletionChunk: ["ChatCompletionChunk"],
  LegEvent: ["LegEvent"],
  FailedRoute: ["LegEvent.failed"],
  ChunkChoice: ["ChunkChoice"],
  Delta: ["Delta"],
  ToolCallDelta: ["ToolCallDelta"],
  FunctionDelta: ["ToolCallDelta.function"],
  ChatCompletion: ["ChatCompletion"],
  Choice: ["Choice"],
  AnswerMeta: ["AnswerMeta"],
  AttemptReport: ["AttemptReport"],
  Message: ["Message", "AssistantMessage"],
  ToolCall: ["ToolCall"],
  FunctionCall: ["FunctionCall"],
  ThinkingBlock: ["ThinkingBlock"],
  Annotation: ["Annotation"],
  UrlCitation: ["Annotation.url_citation"],
  AudioAnswer: ["AudioAnswer"],
  Usage: ["Usage"],
  PromptTokensDetails: ["Usage.prompt_tokens_details"],
  CompletionTokensDetails: ["Usage.completion_tokens_details"],
  ChatCompletionRequest: ["ChatCompletionRequest"],
  StreamOptions: ["ChatCompletionRequest.stream_options"],
  Tool: ["FunctionTool"],
  FunctionDefinition: ["FunctionTool.function"],
  AudioOptions: ["ChatCompletionRequest.audio"],
  JsonSchemaFormat: ["JsonSchemaFormat.json_schema"],
  // The members of a union: test/types has each.
  ImageUrl: [],
  InputAudio: [],
  FileData: [],
};
/** What only one of the two messages has; and the choice between `chat` and `chatStream`, which no request makes. */
const elsewhere = new Set(["AssistantMessage.name", "AssistantMessage.tool_call_id", "ChatCompletionRequest.stream"]);

test("each field of the engine's wire types is named here", () => {
  const files = readdirSync(join(core, "types")).map((file) => join(core, "types", file));
  const records = [...structs(...files)].filter(([, fields]) => fields.length > 0);
  assert.deepEqual(records.map(([name]) => name).sort(), Object.keys(wire).sort());
  for (const [name, fields] of records) {
    for (const path of wire[name]) {
      const members = membersOf(path);
      const missing = fields
        .map(({ wire }) => wire)
        .filter((wire) => !members.has(wire) && !elsewhere.has(`${path}.${wire}`));
      assert.deepEqual(missing, [], `of ${name}, in ${path}`);
    }
  }
});

const options = structs(join(core, "config.rs"), join(core, "providers", "catalog.rs"));
const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());

/** Every option under a struct: its name as a path, and its Rust type. */
function optionsUnder(name) {
  return options.get(name).flatMap(({ attributes, field, type }) => {
    const struct = /(\w+)>*$/.exec(type)[1];
    if (attributes.includes("flatten")) return optionsUnder(struct);
    const here = { path: camel(field), type };
    const isRecord = options.has(struct) && !type.includes("HashMap");
    return isRecord
      ? [here, ...optionsUnder(struct).map((inner) => ({ ...inner, path: `${here.path}.${inner.path}` }))]
      : [here];
  });
}

for (const [struct, type] of [
  ["ClientConfig", "ClientOptions"],
  ["RequestOptions", "CallOptions"],
]) {
  test(`each field of ${struct} is an option in JavaScript, and no option is without one`, () => {
    const theirs = optionsUnder(struct);
    const top = theirs.map(({ path }) => path).filter((path) => !path.includes("."));
    // Given to the engine beside the fields.
    const ours = [...membersOf(type)].filter((name) => name !== "signal" && name !== "hooks");
    assert.deepEqual(ours.sort(), top.sort());
    for (const { path } of theirs.filter(({ path }) => path.includes("."))) {
      const [parent, member] = path.split(/\.(?=[^.]*$)/);
      assert.ok(membersOf(`${type}.${parent}`).has(member), `${type} has ${path}`);
    }
  });

  test(`the engine reads each option of ${type} under its own name, and times in seconds`, () => {
    for (const { path, type } of optionsUnder(struct)) {
      const value = type.includes("Duration") ? 1500 : type.includes("Map<") ? { "X-Own": 1 } : 1500.5;
      const names = path.split(".");
      const option = names.reduceRight((inner, name) => ({ [name]: inner }), value);
      const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      // Of functions the engine is told the names alone.
      const wanted = type.includes("Duration") ? 1.5 : type.includes("TokenProvider") ? Object.keys(value) : value;
      const expected = names.reduceRight((inner, name) => ({ [snake(name)]: inner }), wanted);
      assert.deepEqual(JSON.parse(toConfig(option)), expected, path);
    }
  });
}
