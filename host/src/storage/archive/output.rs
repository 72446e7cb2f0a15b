//! A package on its way into its file, compressed while it is written.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};

use bzip2::write::BzEncoder;
use flate2::write::GzEncoder;
use lzma_rust2::{XzOptions, XzWriter};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::FileType;
use super::metered::Meter;

const BUFFER_BYTES: usize = 64 * 1024;
/// How hard xz tries. There may be a hundred packages at a time, and each takes some MiB of memory; by its own default it
/// would be a hundred.
const XZ_PRESET: u32 = 0;
/// What a frame of zstd has of the package. The encoder makes whole frames only.
const FRAME_BYTES: usize = 1 << 20;

/// The file, for as long as there is room and somebody waits for it.
pub(super) struct Output<'m> {
    file: BufWriter<File>,
    meter: &'m Meter<'m>,
}

/// A tar archive that is compressed as its type says.
pub(super) enum Compressed<'m> {
    Plain(Output<'m>),
    Gzip(GzEncoder<Output<'m>>),
    Bzip2(BzEncoder<Output<'m>>),
    Xz(Box<XzWriter<Output<'m>>>),
    Zstd(Frames<'m>),
}

/// A file of zstd, frame by frame.
pub(super) struct Frames<'m> {
    output: Output<'m>,
    gathered: Vec<u8>,
}

impl<'m> Output<'m> {
    pub(super) fn new(file: File, meter: &'m Meter<'m>) -> Self {
        Self { file: BufWriter::with_capacity(BUFFER_BYTES, file), meter }
    }

    /// The file with all that was written, and its meter.
    pub(super) fn file(&mut self) -> io::Result<(&mut File, &'m Meter<'m>)> {
        self.file.flush()?;
        Ok((self.file.get_mut(), self.meter))
    }

    /// How long it is now.
    pub(super) fn written(&mut self) -> io::Result<u64> {
        self.file.stream_position()
    }

    /// Takes off what is after that, and goes on there.
    pub(super) fn cut(&mut self, bytes: u64) -> io::Result<()> {
        let end = self.file.seek(SeekFrom::End(0))?;
        self.file.get_mut().set_len(bytes)?;
        self.meter.take_back(end.saturating_sub(bytes));
        self.file.seek(SeekFrom::Start(bytes)).map(drop)
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.meter.write(bytes.len())?;
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Output<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl<'m> Compressed<'m> {
    pub(super) fn new(output: Output<'m>, file_type: FileType) -> io::Result<Self> {
        Ok(match file_type {
            FileType::Tar | FileType::Zip => Self::Plain(output),
            FileType::TarGz => Self::Gzip(GzEncoder::new(output, flate2::Compression::default())),
            FileType::TarBz2 => Self::Bzip2(BzEncoder::new(output, bzip2::Compression::default())),
            FileType::TarXz => Self::Xz(Box::new(XzWriter::new(output, XzOptions::with_preset(XZ_PRESET))?)),
            FileType::TarZst => Self::Zstd(Frames { output, gathered: Vec::new() }),
        })
    }

    pub(super) fn finish(self) -> io::Result<()> {
        let mut output = match self {
            Self::Plain(output) => output,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Bzip2(encoder) => encoder.finish()?,
            Self::Xz(encoder) => encoder.finish()?,
            Self::Zstd(mut frames) => {
                frames.end_frame()?;
                frames.output
            }
        };
        output.flush()
    }
}

impl Write for Compressed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(output) => output.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Bzip2(encoder) => encoder.write(bytes),
            Self::Xz(encoder) => encoder.write(bytes),
            Self::Zstd(frames) => frames.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(output) => output.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Bzip2(encoder) => encoder.flush(),
            Self::Xz(encoder) => encoder.flush(),
            Self::Zstd(frames) => frames.output.flush(),
        }
    }
}

impl Frames<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = bytes.len().min(FRAME_BYTES - self.gathered.len());
        self.gathered.extend_from_slice(&bytes[..fits]);
        if self.gathered.len() == FRAME_BYTES {
            self.end_frame()?;
        }
        Ok(fits)
    }

    fn end_frame(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let frame = compress_to_vec(&*self.gathered, CompressionLevel::Fastest);
        self.gathered.clear();
        self.output.write_all(&frame)
    }
}
