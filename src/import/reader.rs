//! Reading a file line by line, unpacked on the way, a bounded part of it at a time.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::MultiGzDecoder;
use quikapp_chat::import::Entry;

/// Entries handed on together.
const BATCH: usize = 4_096;
/// Longest line, in bytes.
const LINE: usize = 1 << 20;
const BUFFER: usize = 1 << 16;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What comes out of a file.
pub(super) enum Read {
    /// The next entries.
    Entries(Vec<Entry>),
    /// A line that is none.
    Broken {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
}

/// An open file, or standard input.
pub(super) struct Source {
    lines: Box<dyn BufRead + Send>,
    total: Option<u64>,
    position: Arc<AtomicU64>,
}

impl Source {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Self::new(io::stdin(), None);
        }
        let file = File::open(path)?;
        let about = file.metadata()?;
        if about.is_dir() {
            return Err(io::Error::other("is a folder"));
        }
        Self::new(file, about.is_file().then_some(about.len()))
    }

    fn new(from: impl io::Read + Send + 'static, total: Option<u64>) -> io::Result<Self> {
        let position = Arc::new(AtomicU64::new(0));
        let counted = Counted { from, position: Arc::clone(&position) };
        let mut plain = BufReader::with_capacity(BUFFER, counted);
        let lines: Box<dyn BufRead + Send> = if starts_with_gzip(&mut plain)? {
            Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(plain)))
        } else {
            Box::new(plain)
        };
        Ok(Self { lines, total, position })
    }

    /// Its length in bytes, packed, where it is known.
    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }

    /// How many of them were read.
    pub(super) fn position(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.position)
    }
}

/// A pipe may give its first byte alone, so the first buffer is not all there is to ask.
fn starts_with_gzip(input: &mut BufReader<impl io::Read>) -> io::Result<bool> {
    loop {
        match input.fill_buf() {
            // One byte of JSON Lines can be followed by anything, one of gzip only by the other.
            Ok(start) => {
                return Ok(start.first() == Some(&GZIP[0]) && (start.len() < 2 || start[1] == GZIP[1]));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

struct Counted<R> {
    from: R,
    position: Arc<AtomicU64>,
}

impl<R: io::Read> io::Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.position.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Reads to the end, or until `take` says that nobody wants more. What was read before a failure is handed on.
pub(super) fn read(source: Source, mut take: impl FnMut(Read) -> bool) -> io::Result<()> {
    let mut input = source.lines;
    let mut batch = Vec::with_capacity(BATCH);
    let mut bytes = Vec::new();
    let mut number = 0;
    let result = loop {
        bytes.clear();
        let whole = match next_line(&mut input, &mut bytes) {
            Ok(Some(whole)) => whole,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        number += 1;
        let line = if number == 1 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes) } else { &bytes };
        let entry = if !whole {
            Err(format!("the line has more than {LINE} bytes"))
        } else if line.trim_ascii().is_empty() {
            continue;
        } else {
            Entry::parse(number, line)
        };
        let wanted = match entry {
            Ok(entry) => {
                batch.push(entry);
                batch.len() < BATCH
                    || take(Read::Entries(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))))
            }
            Err(reason) => take(Read::Broken { line: number, reason }),
        };
        if !wanted {
            return Ok(());
        }
    };
    if !batch.is_empty() {
        take(Read::Entries(batch));
    }
    result
}

/// Reads a line without its end; whether it is whole, none at the end of the input. Of a line that is too long the rest is
/// passed over.
fn next_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    if input.take(LINE as u64 + 1).read_until(b'\n', line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Some(true));
    }
    if line.len() <= LINE {
        return Ok(Some(true));
    }
    input.skip_until(b'\n')?;
    Ok(Some(false))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn line(n: usize) -> String {
        format!(r#"{{"id":"x:{n}","at":"2004-12-25T09:14:00Z","kind":"join","user":"a"}}"#)
    }

    fn all(bytes: Vec<u8>) -> (Vec<u64>, Vec<(u64, String)>, io::Result<()>) {
        let (mut good, mut broken) = (Vec::new(), Vec::new());
        let result = Source::new(io::Cursor::new(bytes), None).and_then(|source| {
            read(source, |read| {
                match read {
                    Read::Entries(batch) => good.extend(batch.into_iter().map(|entry| entry.line)),
                    Read::Broken { line, reason } => broken.push((line, reason)),
                }
                true
            })
        });
        (good, broken, result)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn plain_and_packed_files_are_the_same() {
        let text = format!("\u{feff}{}\n\n{}\r\nnonsense\n{{\n{}", line(1), line(2), line(3));
        // Packed in two parts, as `cat a.gz b.gz` gives.
        let (first, second) = text.as_bytes().split_at(90);
        for bytes in [text.clone().into_bytes(), gzip(text.as_bytes()), [gzip(first), gzip(second)].concat()]
        {
            let (good, broken, result) = all(bytes);
            assert_eq!(good, [1, 3, 6]);
            assert_eq!(broken.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4, 5]);
            result.unwrap();
        }
        let (good, broken, result) = all(Vec::new());
        assert!(good.is_empty() && broken.is_empty() && result.is_ok());
    }

    #[test]
    fn a_file_that_breaks_off_gives_what_it_has() {
        let text: String = (0..5_000).map(|n| line(n) + "\n").collect();
        let mut packed = gzip(text.as_bytes());
        packed.truncate(packed.len() - packed.len() / 4);
        let (good, _, result) = all(packed);
        assert!(good.len() > 1_000 && good.len() < 5_000);
        assert!(result.is_err());
    }

    #[test]
    fn a_line_without_an_end_in_sight_is_passed_over() {
        let long = "x".repeat(3 * LINE);
        let (good, broken, result) = all(format!("{}\n{long}\n{}\n{long}", line(1), line(2)).into_bytes());
        assert_eq!(good, [1, 3]);
        assert_eq!(broken.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 4]);
        result.unwrap();
    }

    #[test]
    fn a_reader_that_nobody_listens_to_stops() {
        let text: String = (0..3 * BATCH).map(|n| line(n) + "\n").collect();
        let mut calls = 0;
        let source = Source::new(io::Cursor::new(text.into_bytes()), None).unwrap();
        read(source, |_| {
            calls += 1;
            false
        })
        .unwrap();
        assert_eq!(calls, 1);
    }
}
