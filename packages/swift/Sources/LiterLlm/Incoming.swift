#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Android)
    import Android
#else
    import Darwin
#endif

/// What crossed from the engine, read where it lies. The generated converters read from it; it lives as long as the buffer that it was
/// given.
struct Incoming {
    private var at: UnsafeRawPointer
    private let end: UnsafeRawPointer
    /// Texts that are the same in every chunk of an answer, such as its id: found again, they cost no memory of their own.
    private var constants: [String] = []
    private var oldest = 0

    enum Failure: Error {
        case endsTooSoon
    }

    init(_ bytes: UnsafeRawBufferPointer) {
        at = bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 1)!
        end = at + bytes.count
    }

    var isAtEnd: Bool { at == end }

    @inline(__always)
    mutating func integer<T: FixedWidthInteger>() throws -> T {
        T(bigEndian: try take(MemoryLayout<T>.size).loadUnaligned(as: T.self))
    }

    /// A text whose length stands before it.
    @inline(__always)
    mutating func text() throws -> String {
        let length = Int(try integer() as Int32)
        return Self.text(try take(length), length)
    }

    /// As ``text()``, for what is likely to have come before.
    mutating func constant() throws -> String {
        let length = Int(try integer() as Int32)
        let bytes = try take(length)
        // Shorter ones are kept inside the string itself.
        guard length > 15 else { return Self.text(bytes, length) }
        for known in constants where known.utf8.count == length {
            if known.utf8.withContiguousStorageIfAvailable({ memcmp($0.baseAddress!, bytes, length) == 0 }) == true { return known }
        }
        let text = Self.text(bytes, length)
        if constants.count < 4 {
            constants.append(text)
        } else {
            constants[oldest] = text
            oldest = (oldest + 1) % constants.count
        }
        return text
    }

    @inline(__always)
    private static func text(_ bytes: UnsafeRawPointer, _ length: Int) -> String {
        String(decoding: UnsafeBufferPointer(start: bytes.assumingMemoryBound(to: UInt8.self), count: length), as: UTF8.self)
    }

    @inline(__always)
    private mutating func take(_ count: Int) throws -> UnsafeRawPointer {
        guard count >= 0, count <= end - at else { throw Failure.endsTooSoon }
        defer { at += count }
        return at
    }
}
