//! Records as a Parquet file: the members as columns, payload and metadata as JSON.

use super::Writer;
use super::file::Target;
use domain::Recorded;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use std::io;
use std::sync::Arc;

/// Records that lie together, column by column.
const GROUP_RECORDS: usize = 50_000;

const SCHEMA: &str = "message record {
    required int64 position;
    required binary event_id (string);
    required binary aggregate_type (string);
    required binary aggregate_id (string);
    required int64 sequence;
    required binary event_type (string);
    required binary event_version (string);
    required int64 recorded_at (timestamp(micros, true));
    required binary payload (json);
    required binary metadata (json);
}";

pub(super) struct Parquet<'a> {
    file: SerializedFileWriter<&'a mut Target>,
    group: Vec<Recorded>,
}

impl<'a> Parquet<'a> {
    pub(super) fn begin(target: &'a mut Target) -> io::Result<Self> {
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let schema = parse_message_type(SCHEMA).map_err(io::Error::other)?;
        let file = SerializedFileWriter::new(target, Arc::new(schema), Arc::new(properties));
        Ok(Self { file: file.map_err(io::Error::other)?, group: Vec::new() })
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let events = std::mem::take(&mut self.group);
        let mut group = self.file.next_row_group()?;
        let text = |of: fn(&Recorded) -> &str| events.iter().map(move |event| of(event).as_bytes().to_vec());
        numbers(&mut group, events.iter().map(|event| event.position))?;
        bytes(&mut group, events.iter().map(|event| event.event_id.to_string().into_bytes()))?;
        bytes(&mut group, text(|event| &event.aggregate_type))?;
        bytes(&mut group, text(|event| &event.aggregate_id))?;
        numbers(&mut group, events.iter().map(|event| event.sequence))?;
        bytes(&mut group, text(|event| &event.event_type))?;
        bytes(&mut group, text(|event| &event.event_version))?;
        numbers(&mut group, events.iter().map(|event| event.recorded_at.utc().timestamp_micros()))?;
        bytes(&mut group, text(|event| &event.payload))?;
        bytes(&mut group, text(|event| &event.metadata))?;
        group.close().map(drop)
    }
}

impl Writer for Parquet<'_> {
    fn write(&mut self, page: &[Recorded]) -> io::Result<()> {
        self.group.extend_from_slice(page);
        match self.group.len() >= GROUP_RECORDS {
            true => self.write_group().map_err(io::Error::other),
            false => Ok(()),
        }
    }

    fn end(mut self: Box<Self>) -> io::Result<()> {
        if !self.group.is_empty() {
            self.write_group().map_err(io::Error::other)?;
        }
        self.file.close().map(drop).map_err(io::Error::other)
    }
}

type Group<'a, 'b> = SerializedRowGroupWriter<'a, &'b mut Target>;

fn numbers(group: &mut Group<'_, '_>, values: impl Iterator<Item = i64>) -> Result<(), ParquetError> {
    column::<Int64Type>(group, &values.collect::<Vec<_>>())
}

fn bytes(group: &mut Group<'_, '_>, values: impl Iterator<Item = Vec<u8>>) -> Result<(), ParquetError> {
    column::<ByteArrayType>(group, &values.map(ByteArray::from).collect::<Vec<_>>())
}

/// Writes the next column.
fn column<T: DataType>(group: &mut Group<'_, '_>, values: &[T::T]) -> Result<(), ParquetError> {
    let column = group.next_column()?;
    let mut column = column.ok_or_else(|| ParquetError::General("the schema has fewer columns".into()))?;
    column.typed::<T>().write_batch(values, None, None)?;
    column.close()
}
