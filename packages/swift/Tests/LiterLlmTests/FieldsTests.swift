import Foundation
import LiterLlm
import XCTest

/// Every field of what crosses, against the engine's own JSON. `bindings/uniffi/fields.json` sets each of them, so that a field that the
/// engine gains, loses or renames fails here by its name.
final class FieldsTests: XCTestCase {
    typealias Object = [String: Any]

    func testEveryFieldOfAChunkIsWhatItsJsonSays() throws {
        let (json, text) = try fields("chunk")
        let chunk = try ChatCompletionChunk(json: text)
        same("chunk", json, chunk)
        XCTAssertEqual(try object(chunk.json()) as NSDictionary, json as NSDictionary)
    }

    func testEveryFieldOfAClientsConfigurationIsWhatItsJsonSays() throws {
        let (json, text) = try fields("config")
        // Neither a source of tokens nor a hook is JSON.
        record("config", json, try ClientConfig(json: text), not: ["tokenProviders", "hooks"])
    }

    func testEveryFieldOfACallsOptionsIsWhatItsJsonSays() throws {
        let (json, text) = try fields("options")
        same("options", json, try RequestOptions(json: text))
    }

    private func same(_ path: String, _ json: Any?, _ value: Any) {
        guard let json else { return XCTFail("\(path) is not in fields.json") }
        let mirror = Mirror(reflecting: value)
        if mirror.displayStyle == .optional {
            guard let (_, value) = mirror.children.first else { return XCTFail("\(path) was not read") }
            return same(path, json, value)
        }
        switch value {
        case let text as String:
            if let json = json as? String {
                XCTAssertEqual(text, json, path)
            } else {
                XCTAssertEqual(try any(text) as? NSObject, json as? NSObject, path)
            }
        case let flag as Bool: XCTAssertEqual(flag, json as? Bool, path)
        case let number as Double: XCTAssertEqual(number, (json as? NSNumber)?.doubleValue, path)
        case let number as any BinaryInteger: XCTAssertEqual(Int64(number), (json as? NSNumber)?.int64Value, path)
        case let list as [Any]:
            let json = json as? [Any] ?? []
            XCTAssertFalse(list.isEmpty, path)
            XCTAssertEqual(list.count, json.count, path)
            for (at, (item, json)) in zip(list, json).enumerated() { same("\(path)[\(at)]", json, item) }
        case let map as Object:
            let json = json as? Object ?? [:]
            XCTAssertEqual(Set(map.keys), Set(json.keys), path)
            for (name, item) in map { same("\(path).\(name)", json[name], item) }
        default: record(path, json as? Object ?? [:], value)
        }
    }

    private func record(_ path: String, _ json: Object, _ value: Any, not: Set<String> = []) {
        let fields = Mirror(reflecting: value).children.compactMap { field in field.label.map { ($0, field.value) } }.filter { !not.contains($0.0) }
        XCTAssertFalse(fields.isEmpty, "\(path) has no fields")
        let known = Set(fields.map { wire($0.0, json) } + ["object"])
        for (name, value) in fields {
            switch name {
            case "extra":
                XCTAssertEqual(try object(value as! String) as NSDictionary, json.filter { !known.contains($0.key) } as NSDictionary, "\(path).extra")
            // These stand among the others in JSON.
            case "timeouts", "retries", "network": record("\(path).\(name)", json, value)
            default: same("\(path).\(name)", json[wire(name, json)], value)
            }
        }
    }

    /// `finishReason` as `finish_reason`, and `kind` as what it is called in this object.
    private func wire(_ name: String, _ json: Object) -> String {
        name == "kind" && json["kind"] == nil ? "type" : name.reduce(into: "") { $0 += $1.isUppercase ? "_\($1.lowercased())" : String($1) }
    }

    private func fields(_ name: String) throws -> (Object, String) {
        let file = Mock.root.appendingPathComponent("bindings/uniffi/fields.json")
        let all = try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as! Object
        let json = all[name] as! Object
        return (json, String(decoding: try JSONSerialization.data(withJSONObject: json), as: UTF8.self))
    }

    private func object(_ text: String) throws -> Object { try any(text) as? Object ?? [:] }

    private func any(_ text: String) throws -> Any {
        try JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)
    }
}
