// swift-tools-version:5.9
import Foundation
import PackageDescription

// Where libliterllm_uniffi is: built from this repository, unless LITERLLM_LIBRARY names another folder.
let packageFolder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
let library =
    ProcessInfo.processInfo.environment["LITERLLM_LIBRARY"]
    ?? packageFolder.appendingPathComponent("../../target/release").standardizedFileURL.path

let engine: [LinkerSetting] = [
    .linkedLibrary("literllm_uniffi"),
    .unsafeFlags(["-L\(library)", "-Xlinker", "-rpath", "-Xlinker", library]),
]

let package = Package(
    name: "LiterLlm",
    platforms: [.macOS(.v12), .iOS(.v15), .tvOS(.v15), .watchOS(.v8)],
    products: [.library(name: "LiterLlm", targets: ["LiterLlm"])],
    targets: [
        .target(name: "LiterLlmTypesFFI", linkerSettings: engine),
        .target(name: "LiterLlmNativeFFI", linkerSettings: engine),
        .target(name: "LiterLlm", dependencies: ["LiterLlmTypesFFI", "LiterLlmNativeFFI"]),
        .executableTarget(name: "LiterLlmBench", dependencies: ["LiterLlm"], path: "Bench"),
        .executableTarget(name: "LiterLlmOutage", dependencies: ["LiterLlm"], path: "Tests/Outage"),
        .testTarget(name: "LiterLlmTests", dependencies: ["LiterLlm"]),
    ],
    swiftLanguageVersions: [.v5]
)
