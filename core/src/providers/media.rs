//! Images, sound and files in a request: `data:` URLs, and what kind a name says something is.

/// The parts of a `data:` URL whose payload is base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DataUrl<'a> {
    pub mime_type: &'a str,
    pub base64: &'a str,
}

impl<'a> DataUrl<'a> {
    /// `None` where `url` is none.
    pub(super) fn read(url: &'a str) -> Option<Self> {
        let (head, base64) = url.strip_prefix("data:")?.split_once(',')?;
        let head = head.strip_suffix(";base64")?;
        let mime_type = head.split(';').next().filter(|kind| !kind.is_empty()).unwrap_or("application/octet-stream");
        Some(Self { mime_type, base64 })
    }
}

/// What the ending of a file's name or address says it is.
pub(super) fn mime_type_of(name: &str) -> Option<&'static str> {
    const ENDINGS: [(&str, &str); 27] = [
        ("png", "image/png"),
        ("jpg", "image/jpeg"),
        ("jpeg", "image/jpeg"),
        ("gif", "image/gif"),
        ("webp", "image/webp"),
        ("heic", "image/heic"),
        ("heif", "image/heif"),
        ("pdf", "application/pdf"),
        ("txt", "text/plain"),
        ("md", "text/markdown"),
        ("html", "text/html"),
        ("csv", "text/csv"),
        ("json", "application/json"),
        ("xml", "text/xml"),
        ("mp3", "audio/mpeg"),
        ("wav", "audio/wav"),
        ("flac", "audio/flac"),
        ("ogg", "audio/ogg"),
        ("m4a", "audio/mp4"),
        ("aac", "audio/aac"),
        ("mp4", "video/mp4"),
        ("mov", "video/quicktime"),
        ("webm", "video/webm"),
        ("mpg", "video/mpeg"),
        ("mpeg", "video/mpeg"),
        ("wmv", "video/x-ms-wmv"),
        ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ];
    let path = name.split(['?', '#']).next().unwrap_or(name);
    let (_, ending) = path.rsplit_once('.')?;
    ENDINGS.iter().find(|(known, _)| ending.eq_ignore_ascii_case(known)).map(|(_, mime_type)| *mime_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_url_is_taken_apart() {
        let read = DataUrl::read("data:image/png;name=x;base64,AAAA");
        assert_eq!(read, Some(DataUrl { mime_type: "image/png", base64: "AAAA" }));
        assert_eq!(DataUrl::read("https://host/a.png"), None);
        assert_eq!(DataUrl::read("data:text/plain,plain"), None);
    }

    #[test]
    fn an_ending_tells_the_kind() {
        assert_eq!(mime_type_of("https://host/a.b/photo.JPG?size=2"), Some("image/jpeg"));
        assert_eq!(mime_type_of("https://host/photo"), None);
    }
}
