package dev.kreuzberg.literllm

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File

/** What the READMEs show is what was compiled. */
class ExamplesTest {
    @Test
    fun `every example of the READMEs is compiled as it stands`() {
        val compiled = listOf("kotlin/dev/kreuzberg/literllm/Examples.kt", "java/dev/kreuzberg/literllm/Examples.java")
            .flatMap { between(File(Mock.root, "packages/kotlin/src/test/$it"), Regex(" *// example"), Regex(" *// end")) }
        val shown = listOf("README.md", "packages/kotlin/README.md")
            .flatMap { between(File(Mock.root, it), Regex("```(kotlin|java)"), Regex("```")) }
        assertTrue(shown.size >= 6, "${shown.size} examples")
        for (example in shown) assertTrue(example in compiled, "this is not compiled as it stands:\n$example")
        assertEquals(shown.toSet(), compiled.toSet())
    }

    /** The texts between lines that are [begin] and [end], without the indentation that all their lines have. */
    private fun between(file: File, begin: Regex, end: Regex): List<String> {
        val texts = mutableListOf<String>()
        var open: MutableList<String>? = null
        for (line in file.readLines()) {
            val lines = open
            when {
                lines == null -> if (begin.matches(line)) open = mutableListOf()
                end.matches(line) -> {
                    texts += lines.joinToString("\n").trimIndent()
                    open = null
                }
                else -> lines += line
            }
        }
        return texts
    }
}
