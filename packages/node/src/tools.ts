/** Tools and structured output, from a JSON schema or from what knows its own. */

import { errorHere } from "./errors";
import type { ChatCompletion, FunctionTool, JsonSchema, JsonSchemaFormat, ToolCall } from "./types";

/** A schema object that can say itself as JSON schema, such as zod 4's; where it can parse, what it parses has its type. */
export interface Schema<T = unknown> {
  toJSONSchema(): object;
  parse?(value: unknown): T;
}

type Parsed<S> = S extends { parse(value: unknown): infer T } ? T : unknown;

/** A tool for a request, which can read the arguments of its calls. */
export interface TypedTool<T> extends FunctionTool {
  /** The arguments of a call of this tool. Throws where they are no JSON or not as the schema wants them. */
  parse(call: Pick<ToolCall, "function">): T;
}

/** Describes a function that the model may call. */
export function tool<S extends Schema | JsonSchema>(definition: {
  name: string;
  description?: string;
  parameters: S;
  strict?: boolean;
}): TypedTool<Parsed<S>> {
  const { parameters, ...rest } = definition;
  return hidden(
    { type: "function" as const, function: { ...rest, parameters: schemaOf(parameters) } },
    { parse: (call: Pick<ToolCall, "function">) => read(parameters, call.function.arguments || "{}") as Parsed<S> },
  );
}

/** A `response_format` that can read the answers to it. */
export interface TypedFormat<T> extends JsonSchemaFormat {
  /** The answer's value. Throws where it is no JSON or not as the schema wants it. */
  parse(answer: ChatCompletion | string): T;
}

/** Asks for an answer by a schema. */
export function jsonSchema<S extends Schema | JsonSchema>(
  name: string,
  schema: S,
  options: { description?: string; strict?: boolean } = {},
): TypedFormat<Parsed<S>> {
  return hidden(
    { type: "json_schema" as const, json_schema: { name, strict: true, ...options, schema: schemaOf(schema) } },
    {
      parse: (answer: ChatCompletion | string) =>
        read(schema, typeof answer === "string" ? answer : (answer.choices[0]?.message.content ?? "")) as Parsed<S>,
    },
  );
}

function schemaOf(schema: Schema | JsonSchema): JsonSchema {
  if (!isSchema(schema)) return schema;
  // The dialect's own address says nothing to a model, and some providers refuse it.
  const { $schema: _, ...plain } = schema.toJSONSchema() as JsonSchema;
  return plain;
}

function isSchema(schema: Schema | JsonSchema): schema is Schema {
  return typeof (schema as Schema).toJSONSchema === "function";
}

function read(schema: Schema | JsonSchema, text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw errorHere("protocol", `the model wrote no JSON: ${text.slice(0, 200)}`, error);
  }
  return isSchema(schema) && schema.parse ? schema.parse(value) : value;
}

/** The object with methods that do not show when it is printed, spread or sent. */
function hidden<T extends object, M extends object>(object: T, methods: M): T & M {
  for (const [name, value] of Object.entries(methods)) Object.defineProperty(object, name, { value });
  return object as T & M;
}
