//! What a file is that is no text, by its first bytes.

/// First bytes of what is text by its bytes alone and none to people.
const WRITTEN: &[(&[u8], &str)] = &[(b"%PDF-", "a PDF document"), (b"{\\rtf", "an RTF document")];

/// First bytes of what is no text.
const BINARY: &[(&[u8], &str)] = &[
    (b"\x89PNG", "a PNG picture"),
    (b"\xFF\xD8\xFF", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"\0\0\x01\0", "an icon"),
    (b"RIFF", "a sound, a film or a WebP picture"),
    (b"OggS", "a sound"),
    (b"ID3", "a sound"),
    (b"fLaC", "a sound"),
    (b"\x1AE\xDF\xA3", "a film"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"PK\x05\x06", "a ZIP archive"),
    (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "an office document"),
    (b"\x1F\x8B", "gzip data"),
    (b"BZh", "bzip2 data"),
    (b"\xFD7zXZ\0", "xz data"),
    (b"(\xB5/\xFD", "Zstandard data"),
    (b"7z\xBC\xAF\x27\x1C", "a 7z archive"),
    (b"Rar!\x1A\x07", "a RAR archive"),
    (b"\x7FELF", "a program"),
    (b"MZ", "a program"),
    (b"\xCF\xFA\xED\xFE", "a program"),
    (b"\xCA\xFE\xBA\xBE", "a program or a Java class"),
    (b"\0asm", "a WebAssembly component"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"wOFF", "a font"),
    (b"wOF2", "a font"),
    (b"OTTO", "a font"),
    (b"\0\x01\0\0", "a font"),
];

/// What bytes are that may be text for all that their values say.
pub(super) fn written(bytes: &[u8]) -> Option<&'static str> {
    named(WRITTEN, bytes)
}

/// What bytes are of which it is known that they are no text.
pub(super) fn binary(bytes: &[u8]) -> Option<&'static str> {
    named(BINARY, bytes)
}

fn named(table: &[(&[u8], &'static str)], bytes: &[u8]) -> Option<&'static str> {
    table.iter().find(|(first, _)| bytes.starts_with(first)).map(|(_, name)| *name)
}
