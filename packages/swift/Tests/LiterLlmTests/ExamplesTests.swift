import Foundation
import XCTest

/// What the READMEs show is what was compiled.
final class ExamplesTests: XCTestCase {
    func testEveryExampleOfTheReadmesIsCompiledAsItStands() throws {
        let compiled = try between(
            "packages/swift/Tests/LiterLlmTests/Examples.swift",
            { $0.trimmingCharacters(in: .whitespaces) == "// example" }, { $0.trimmingCharacters(in: .whitespaces) == "// end" })
        let shown = try ["README.md", "packages/swift/README.md"].flatMap { try between($0, { $0 == "```swift" }, { $0 == "```" }) }
        XCTAssertGreaterThanOrEqual(shown.count, 6)
        for example in shown { XCTAssertTrue(compiled.contains(example), "this is not compiled as it stands:\n\(example)") }
        XCTAssertEqual(Set(shown), Set(compiled))
    }

    /// The texts between lines that are marks, without the indentation of their first line.
    private func between(_ file: String, _ begin: (String) -> Bool, _ end: (String) -> Bool) throws -> [String] {
        var texts: [String] = []
        var open: [String]?
        for line in try String(contentsOf: Mock.root.appendingPathComponent(file), encoding: .utf8).components(separatedBy: "\n") {
            guard let lines = open else {
                if begin(line) { open = [] }
                continue
            }
            guard end(line) else {
                open = lines + [line]
                continue
            }
            let indentation = lines.first?.prefix { $0 == " " }.count ?? 0
            texts.append(lines.map { String($0.dropFirst($0.allSatisfy { $0 == " " } ? $0.count : indentation)) }.joined(separator: "\n"))
            open = nil
        }
        return texts
    }
}
