//! Compressed streams, taken apart. Each may be of several parts, as `cat` makes them, and may have zeros behind it, as
//! programs that write to tapes do.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::mem;

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, FrameHeaderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::FileType;
use super::metered::Meter;

const BUFFER_BYTES: usize = 64 * 1024;
/// What a decoder of xz may have of memory, in KiB: more than `xz -9` asks for.
const XZ_MEMORY_KIB: u32 = 128 * 1024;
/// How far a frame of zstd may look back: as far as `zstd --long` does.
const ZSTD_WINDOW_BYTES: u64 = 128 << 20;

/// What a file of this type is without its compression.
pub(super) fn decompressed<'m>(file: impl Read + 'm, file_type: FileType, meter: &'m Meter<'m>) -> Box<dyn Read + 'm> {
    let input = BufReader::with_capacity(BUFFER_BYTES, meter.stoppable(file));
    let begin = match file_type {
        FileType::Tar | FileType::Zip => return Box::new(input),
        FileType::TarGz => |input| Ok(Decoder::Gzip(Box::new(GzDecoder::new(input)))),
        FileType::TarBz2 => |input| Ok(Decoder::Bzip2(BzDecoder::new(input))),
        FileType::TarXz => |input| Ok(Decoder::Xz(Box::new(XzReader::new_mem_limit(input, false, XZ_MEMORY_KIB)))),
        FileType::TarZst => |input| Zstd::begin(input).map(Box::new).map(Decoder::Zstd),
    };
    Box::new(Parts { begin, state: State::Between(input), any: false, meter })
}

struct Parts<'m, R: BufRead> {
    begin: fn(R) -> io::Result<Decoder<R>>,
    state: State<R>,
    /// Whether there was a part.
    any: bool,
    meter: &'m Meter<'m>,
}

enum State<R: BufRead> {
    Between(R),
    In(Decoder<R>),
    Ended,
}

enum Decoder<R: BufRead> {
    Gzip(Box<GzDecoder<R>>),
    Bzip2(BzDecoder<R>),
    Xz(Box<XzReader<R>>),
    Zstd(Box<Zstd<R>>),
}

impl<R: BufRead> Read for Parts<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let State::In(decoder) = &mut self.state {
                match decoder.read(buffer)? {
                    0 => {}
                    read => return Ok(read),
                }
            }
            self.state = match mem::replace(&mut self.state, State::Ended) {
                State::In(decoder) => State::Between(decoder.into_inner()?),
                State::Between(input) => self.next(input)?,
                State::Ended => return Ok(0),
            };
        }
    }
}

impl<R: BufRead> Parts<'_, R> {
    /// Begins with the next part, if there is one.
    fn next(&mut self, mut input: R) -> io::Result<State<R>> {
        // There may be very many that have nothing in them.
        self.meter.check()?;
        match input.fill_buf()?.first() {
            None if self.any => Ok(State::Ended),
            Some(0) if self.any => {
                only_zeros(input)?;
                Ok(State::Ended)
            }
            _ => {
                self.any = true;
                (self.begin)(input).map(State::In)
            }
        }
    }
}

/// Reads to the end, where there may be nothing but zeros.
fn only_zeros(mut input: impl BufRead) -> io::Result<()> {
    loop {
        let bytes = input.fill_buf()?;
        let length = bytes.len();
        if length == 0 {
            return Ok(());
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(io::Error::new(ErrorKind::InvalidData, "something stands after the compressed stream in it"));
        }
        input.consume(length);
    }
}

impl<R: BufRead> Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Bzip2(decoder) => decoder.read(buffer),
            Self::Xz(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }

    /// What comes after the part.
    fn into_inner(self) -> io::Result<R> {
        match self {
            Self::Gzip(decoder) => Ok(decoder.into_inner()),
            Self::Bzip2(decoder) => Ok(decoder.into_inner()),
            Self::Xz(decoder) => Ok(decoder.into_inner()),
            Self::Zstd(decoder) => decoder.end(),
        }
    }
}

/// A frame of zstd, or one that is to be passed over.
struct Zstd<R> {
    input: R,
    frame: Option<FrameDecoder>,
    /// How much was in it so far, in bytes.
    read_bytes: u64,
}

impl<R: BufRead> Zstd<R> {
    fn begin(mut input: R) -> io::Result<Self> {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(ZSTD_WINDOW_BYTES);
        match frame.init(&mut input) {
            Ok(()) => Ok(Self { input, frame: Some(frame), read_bytes: 0 }),
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let skipped = io::copy(&mut (&mut input).take(length.into()), &mut io::sink())?;
                if skipped < length.into() {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                Ok(Self { input, frame: None, read_bytes: 0 })
            }
            Err(error) => Err(frame_error(error)),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(frame) = &mut self.frame else { return Ok(0) };
        while frame.can_collect() == 0 && !frame.is_finished() {
            frame.decode_blocks(&mut self.input, BlockDecodingStrategy::UptoBlocks(1)).map_err(frame_error)?;
        }
        let read = frame.read(buffer)?;
        self.read_bytes += read as u64;
        Ok(read)
    }

    fn end(self) -> io::Result<R> {
        // Of a frame that does not say it, it is 0.
        let said = self.frame.as_ref().map_or(0, FrameDecoder::content_size);
        if said > 0 && said != self.read_bytes {
            return Err(io::Error::new(ErrorKind::InvalidData, "a frame of zstd has another size than it says"));
        }
        let sums =
            self.frame.as_ref().and_then(|frame| frame.get_checksum_from_data().zip(frame.get_calculated_checksum()));
        match sums {
            Some((said, found)) if said != found => {
                Err(io::Error::new(ErrorKind::InvalidData, "a checksum of zstd is another one"))
            }
            _ => Ok(self.input),
        }
    }
}

fn frame_error(error: FrameDecoderError) -> io::Error {
    match error {
        FrameDecoderError::FrameHeaderError(FrameHeaderError::WindowTooBig { .. })
        | FrameDecoderError::WindowSizeTooBig { .. } => {
            let most = ZSTD_WINDOW_BYTES >> 20;
            io::Error::new(
                ErrorKind::InvalidData,
                format!("it looks back for more than {most} MiB; compress it with `--long=27` at most"),
            )
        }
        other => io::Error::other(other),
    }
}
