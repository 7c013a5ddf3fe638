package dev.kreuzberg.literllm

import com.fasterxml.jackson.databind.JsonNode
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File
import java.lang.reflect.Modifier
import java.time.Duration

/**
 * Every field of what crosses, against the engine's own JSON. `bindings/uniffi/fields.json` sets each of them, so that a field that the
 * engine gains, loses or renames fails here by its name.
 */
class FieldsTest {
    private val fields = Mock.json.readTree(File(Mock.root, "bindings/uniffi/fields.json"))

    @Test
    fun `every field of a chunk is what its JSON says`() {
        val chunk = ChatCompletionChunk.fromJson(fields["chunk"].toString())
        same("chunk", fields["chunk"], chunk)
        assertEquals(fields["chunk"], Mock.json.readTree(chunk.toJson()))
    }

    @Test
    fun `every field of a client's configuration is what its JSON says`() {
        // Neither a source of tokens nor a hook is JSON.
        same("config", fields["config"], ClientConfig.fromJson(fields["config"].toString()), not = setOf("tokenProviders", "hooks"))
    }

    @Test
    fun `every field of a call's options is what its JSON says`() {
        same("options", fields["options"], RequestOptions.fromJson(fields["options"].toString()))
    }

    private fun same(path: String, json: JsonNode?, value: Any?, not: Set<String> = emptySet()) {
        assertNotNull(json, "$path is not in fields.json")
        assertNotNull(value, "$path was not read")
        when (value!!) {
            is String -> assertEquals(json, if (json!!.isTextual) Mock.json.valueToTree(value) else Mock.json.readTree(value as String), path)
            is Boolean -> assertEquals(json!!.booleanValue(), value, path)
            is Number -> assertEquals(json!!.doubleValue(), value.toDouble(), path)
            is Duration -> assertEquals(json!!.doubleValue(), value.toNanos() / 1e9, path)
            is List<*> -> {
                assertTrue(value.isNotEmpty(), "$path is empty")
                assertEquals(json!!.size(), value.size, path)
                value.forEachIndexed { at, item -> same("$path[$at]", json[at], item) }
            }
            is Map<*, *> -> {
                assertEquals(json!!.fieldNames().asSequence().toSet(), value.keys, path)
                value.forEach { (name, item) -> same("$path.$name", json[name as String], item) }
            }
            else -> record(path, json!!, value, not)
        }
    }

    private fun record(path: String, json: JsonNode, record: Any, not: Set<String>) {
        val values = record.javaClass.declaredFields.filterNot { Modifier.isStatic(it.modifiers) || it.name in not }
        val known = values.map { wire(it.name, json) } + "object"
        for (field in values) {
            field.isAccessible = true
            val value = field.get(record)
            when (field.name) {
                "extra" -> {
                    val later = json.properties().filter { it.key !in known }.associate { it.key to it.value }
                    assertEquals(later, Mock.json.readTree(value as String).properties().associate { it.key to it.value }, "$path.extra")
                }
                // These stand among the others in JSON.
                "timeouts", "retries", "network" -> record("$path.${field.name}", json, value, emptySet())
                else -> same("$path.${field.name}", json[wire(field.name, json)], value)
            }
        }
    }

    /** `finishReason` as `finish_reason`, and `kind` as what it is called in this object. */
    private fun wire(name: String, json: JsonNode): String =
        if (name == "kind" && !json.has("kind")) "type" else name.replace(Regex("[A-Z]")) { "_${it.value.lowercase()}" }
}
