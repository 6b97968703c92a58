//! Where an export goes.

use anyhow::Context;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Bytes that are written at once.
const BUFFER: usize = 1 << 20;

/// Stdout, or a file that gets its name when it is complete.
pub(super) struct Target {
    writer: BufWriter<Box<dyn Write + Send>>,
    file: Option<Unfinished>,
}

/// It is removed unless it is finished.
struct Unfinished {
    part: PathBuf,
    path: PathBuf,
    is_finished: bool,
}

impl Target {
    pub(super) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self { writer: BufWriter::with_capacity(BUFFER, Box::new(io::stdout())), file: None });
        };
        let mut part = OsString::from(path);
        part.push(".part");
        let part = PathBuf::from(part);
        let file = File::create(&part).with_context(|| format!("cannot create {}", part.display()))?;
        Ok(Self {
            writer: BufWriter::with_capacity(BUFFER, Box::new(file)),
            file: Some(Unfinished { part, path: path.to_owned(), is_finished: false }),
        })
    }

    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        self.writer.flush().context("cannot write the export")?;
        if let Some(file) = &mut self.file {
            fs::rename(&file.part, &file.path)
                .with_context(|| format!("cannot create {}", file.path.display()))?;
            file.is_finished = true;
        }
        Ok(())
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished {
            let _it_may_be_gone = fs::remove_file(&self.part);
        }
    }
}
