//! Deletion vectors: the positions of a data file's deleted rows, and how a reader leaves them out.
//!
//! Source: the Delta transaction log protocol, "Deletion Vectors" and "Deletion Vector Format".

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StructArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use datafusion::parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use roaring::RoaringTreemap;
use tokio::sync::OnceCell;

use super::live::LiveRows;
use super::location::Location;
use crate::error::{Code, EngineError, Result};

const MAGIC: u32 = 1_681_511_377;
/// A vector's data in a file stands between its size and its checksum, of four bytes each.
const FRAME_BYTES: u64 = 4;
/// A file of vectors starts with its version, one byte.
const FIRST_OFFSET: u64 = 1;
/// Deleted rows up to which the selection that they leave is kept for the next query.
const MOST_ROWS_KEPT: u64 = 1 << 16;
/// How much larger than the vector its bits may be to be kept for the next query.
const MOST_BITS_KEPT: u64 = 8;
const UUID_CHARACTERS: usize = 20;
const ALPHABET: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// Where a deletion vector is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// In the log itself, decoded.
    Inline(Vec<u8>),
    /// In a file of the table's store.
    File { path: Path, offset: u64 },
}

/// The deletion vector of one data file, read when the file is first opened.
#[derive(Debug)]
pub struct DeletionVector {
    storage: Storage,
    size_bytes: u64,
    cardinality: u64,
    rows: OnceCell<Arc<RoaringTreemap>>,
    /// What the vector leaves of its file, kept where that takes little memory.
    left: OnceCell<ParquetAccessPlan>,
    /// The same as a bit for each row, kept where that takes about as much memory as the vector.
    live: OnceCell<Arc<LiveRows>>,
}

impl DeletionVector {
    pub fn new(storage: Storage, size_bytes: u64, cardinality: u64) -> Self {
        Self {
            storage,
            size_bytes,
            cardinality,
            rows: OnceCell::new(),
            left: OnceCell::new(),
            live: OnceCell::new(),
        }
    }

    /// Read a vector's description from the log: its storage type and what that type says of the place.
    pub fn describe(
        location: &Location,
        storage_type: &str,
        place: &str,
        offset: Option<u64>,
        size_bytes: u64,
        cardinality: u64,
    ) -> Result<Self> {
        let offset = offset.unwrap_or(FIRST_OFFSET);
        let storage = match storage_type {
            "i" => {
                let mut data = decode(place)?;
                data.truncate(usize::try_from(size_bytes).unwrap_or(usize::MAX));
                Storage::Inline(data)
            }
            "u" => Storage::File { path: location.file(&relative_path(place)?)?, offset },
            "p" => Storage::File { path: location.absolute(place)?, offset },
            other => {
                let message = format!("Deletion vectors of storage type {other:?} can't be read");
                return Err(EngineError::new(Code::Unsupported, message));
            }
        };
        Ok(Self::new(storage, size_bytes, cardinality))
    }

    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The number of deleted rows.
    pub fn cardinality(&self) -> u64 {
        self.cardinality
    }

    /// Which rows of the file's row groups are left; `group_rows` are the row counts of the groups.
    pub async fn left(
        &self,
        store: &dyn ObjectStore,
        group_rows: impl IntoIterator<Item = u64>,
    ) -> Result<ParquetAccessPlan> {
        let make = || async { access_plan(self.rows(store).await?.as_ref(), group_rows) };
        match self.cardinality <= MOST_ROWS_KEPT {
            true => self.left.get_or_try_init(make).await.cloned(),
            false => make().await,
        }
    }

    /// Which rows are left of a file that has so many, as bits.
    pub async fn live(&self, store: &dyn ObjectStore, rows: usize) -> Result<Arc<LiveRows>> {
        if let Some(live) = self.live.get() {
            return Ok(Arc::clone(live));
        }
        let live = Arc::new(LiveRows::try_new(self.rows(store).await?.as_ref(), rows)?);
        if live.size_bytes() as u64 <= self.size_bytes.saturating_mul(MOST_BITS_KEPT) {
            self.live.set(Arc::clone(&live)).ok();
        }
        Ok(live)
    }

    /// The positions of the deleted rows, counted from the file's first row.
    pub async fn rows(&self, store: &dyn ObjectStore) -> Result<Arc<RoaringTreemap>> {
        let rows = self.rows.get_or_try_init(|| async {
            let data = match &self.storage {
                Storage::Inline(data) => parse(data)?,
                Storage::File { path, offset } => {
                    let end = offset + 2 * FRAME_BYTES + self.size_bytes;
                    let framed = store.get_range(path, *offset..end).await.map_err(|error| {
                        EngineError::new(Code::Storage, format!("Can't read a deletion vector: {error}"))
                    })?;
                    parse(unframed(&framed, self.size_bytes)?)?
                }
            };
            match data.len() == self.cardinality {
                true => Ok(Arc::new(data)),
                false => Err(damaged(&format!(
                    "it has {} rows, and the log says {}",
                    data.len(),
                    self.cardinality
                ))),
            }
        });
        rows.await.cloned()
    }
}

/// Which rows of each row group are left; `group_rows` are the row counts of the groups.
pub fn access_plan(
    deleted: &RoaringTreemap,
    group_rows: impl IntoIterator<Item = u64>,
) -> Result<ParquetAccessPlan> {
    let mut positions = deleted.iter().peekable();
    let mut start = 0;
    let mut groups = Vec::new();
    for rows in group_rows {
        let end = start + rows;
        let mut selectors = Vec::new();
        let mut at = start;
        while let Some(first) = positions.next_if(|row| *row < end) {
            let mut past = first + 1;
            while positions.next_if(|row| *row == past && past < end).is_some() {
                past += 1;
            }
            if first > at {
                selectors.push(RowSelector::select((first - at) as usize));
            }
            selectors.push(RowSelector::skip((past - first) as usize));
            at = past;
        }
        groups.push(match (selectors.len(), at) {
            (0, _) => RowGroupAccess::Scan,
            (1, at) if at == end => RowGroupAccess::Skip,
            (_, at) => {
                if at < end {
                    selectors.push(RowSelector::select((end - at) as usize));
                }
                RowGroupAccess::Selection(RowSelection::from(selectors))
            }
        });
        start = end;
    }
    match positions.next() {
        None => Ok(ParquetAccessPlan::new(groups)),
        Some(row) => {
            Err(damaged(&format!("it deletes row {row} of a data file that has {start}, counted from 0")))
        }
    }
}

/// The vectors of a hand-over, by the row of their data file.
pub fn read_column(location: &Location, column: &ArrayRef) -> Result<Vec<Option<Arc<DeletionVector>>>> {
    let Some(vectors) = column.as_any().downcast_ref::<StructArray>() else {
        let found = column.data_type();
        return Err(EngineError::new(Code::ScanInput, format!("Column \"deletion_vector\" is {found}")));
    };
    let field = |name: &str, data_type: &DataType| -> Result<ArrayRef> {
        let values = vectors.column_by_name(name).and_then(|values| cast(values, data_type).ok());
        values.ok_or_else(|| {
            EngineError::new(Code::ScanInput, format!("Deletion vectors have no {name:?} as {data_type}"))
        })
    };
    let types = field("storage_type", &DataType::Utf8)?;
    let places = field("path_or_inline_dv", &DataType::Utf8)?;
    let offsets = field("offset", &DataType::Int64)?;
    let sizes = field("size_in_bytes", &DataType::Int64)?;
    let cardinalities = field("cardinality", &DataType::Int64)?;
    let whole = |values: &ArrayRef, row: usize| {
        let values = values.as_primitive::<Int64Type>();
        (!values.is_null(row)).then(|| values.value(row)).and_then(|value| u64::try_from(value).ok())
    };
    (0..vectors.len())
        .map(|row| {
            if vectors.is_null(row) {
                return Ok(None);
            }
            let (Some(size), Some(cardinality)) = (whole(&sizes, row), whole(&cardinalities, row)) else {
                return Err(damaged("the log does not say its size and the number of its rows"));
            };
            let storage_type = types.as_string::<i32>().value(row);
            let place = places.as_string::<i32>().value(row);
            let offset = whole(&offsets, row);
            let vector = DeletionVector::describe(location, storage_type, place, offset, size, cardinality)?;
            Ok(Some(Arc::new(vector)))
        })
        .collect()
}

fn relative_path(place: &str) -> Result<String> {
    let uuid_at = place.len().checked_sub(UUID_CHARACTERS).filter(|at| place.is_char_boundary(*at));
    let Some((prefix, name)) = uuid_at.map(|at| place.split_at(at)) else {
        return Err(damaged("the log does not name its file"));
    };
    let bytes: String = decode(name)?.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [&bytes[..8], &bytes[8..12], &bytes[12..16], &bytes[16..20], &bytes[20..]];
    let file = format!("deletion_vector_{}.bin", parts.join("-"));
    Ok(if prefix.is_empty() { file } else { format!("{prefix}/{file}") })
}

/// Decode Z85: five characters are four bytes. As many `#` as bytes are missing may start the last five: so
/// the crate `z85` pads, and no whole word starts with one.
fn decode(text: &str) -> Result<Vec<u8>> {
    let digit = |character: &u8| ALPHABET.iter().position(|each| each == character);
    let word = |characters: &[u8]| {
        let digits = characters.iter().map(digit).collect::<Option<Vec<_>>>()?;
        let value = digits.iter().fold(0_u64, |value, digit| value * 85 + *digit as u64);
        (characters.len() == 5).then(|| u32::try_from(value).ok())?.map(u32::to_be_bytes)
    };
    let (whole, last) = text.as_bytes().split_at(text.len().saturating_sub(5));
    let missing = last.iter().take_while(|character| **character == b'#').count();
    let unpadded: Vec<u8> =
        std::iter::repeat_n(b'0', missing).chain(last[missing..].iter().copied()).collect();
    let tail =
        || word(&unpadded).filter(|bytes| missing < 4 && bytes[..missing].iter().all(|byte| *byte == 0));
    let words = whole.chunks(5).map(word).collect::<Option<Vec<_>>>();
    match (words, tail()) {
        (Some(words), Some(tail)) => Ok([&words.concat(), &tail[missing..]].concat()),
        _ if text.is_empty() => Ok(Vec::new()),
        _ => Err(damaged("its text in the log can't be decoded")),
    }
}

/// Take the data out of its frame in a file, and check it.
fn unframed(framed: &[u8], size_bytes: u64) -> Result<&[u8]> {
    let frame = FRAME_BYTES as usize;
    let (Some((size, rest)), true) =
        (framed.split_first_chunk::<4>(), framed.len() as u64 == size_bytes + 2 * FRAME_BYTES)
    else {
        return Err(damaged("its file is too short"));
    };
    let (data, checksum) = rest.split_at(rest.len() - frame);
    if u64::from(u32::from_be_bytes(*size)) != size_bytes {
        return Err(damaged(&format!(
            "it has {} bytes, and the log says {size_bytes}",
            u32::from_be_bytes(*size)
        )));
    }
    match crc32(data).to_be_bytes() == checksum {
        true => Ok(data),
        false => Err(damaged("its checksum is wrong")),
    }
}

fn parse(data: &[u8]) -> Result<RoaringTreemap> {
    match data.split_first_chunk::<4>() {
        Some((magic, bitmap)) if u32::from_le_bytes(*magic) == MAGIC => {
            RoaringTreemap::deserialize_from(bitmap).map_err(|error| damaged(&error.to_string()))
        }
        _ => Err(damaged("its format is unknown")),
    }
}

pub(super) fn damaged(found: &str) -> EngineError {
    EngineError::new(Code::Storage, format!("A deletion vector is damaged: {found}"))
}

/// CRC-32 as zlib computes it.
fn crc32(data: &[u8]) -> u32 {
    !data
        .iter()
        .fold(u32::MAX, |sum, byte| (sum >> 8) ^ CRC_TABLE[((sum ^ u32::from(*byte)) & 0xFF) as usize])
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut sum = index as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 };
            bit += 1;
        }
        table[index] = sum;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use object_store::PutPayload;
    use object_store::memory::InMemory;

    use super::*;

    fn serialised(rows: &[u64]) -> Vec<u8> {
        let mut data = MAGIC.to_le_bytes().to_vec();
        rows.iter().copied().collect::<RoaringTreemap>().serialize_into(&mut data).unwrap();
        data
    }

    fn framed(data: &[u8]) -> Vec<u8> {
        let size = (data.len() as u32).to_be_bytes();
        [&size, data, &crc32(data).to_be_bytes()].concat()
    }

    fn encode(data: &[u8]) -> String {
        let mut characters = Vec::new();
        for word in data.chunks(4) {
            let mut bytes = [0; 4];
            bytes[..word.len()].copy_from_slice(word);
            let mut value = u32::from_be_bytes(bytes);
            let mut digits = [0; 5];
            for digit in digits.iter_mut().rev() {
                *digit = ALPHABET[(value % 85) as usize];
                value /= 85;
            }
            characters.extend(digits);
        }
        String::from_utf8(characters).unwrap()
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        futures::executor::block_on(future)
    }

    #[test]
    fn the_protocols_example_is_decoded() {
        // The example of the protocol's text.
        assert_eq!(
            relative_path("ab^-aqEH.-t@S}K{vb[*k^").unwrap(),
            "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin"
        );
        assert!(relative_path("short").is_err());
        assert!(decode("~~~~~").is_err());
    }

    #[test]
    fn an_inline_vector_is_read_without_a_store() {
        let location = Location::parse("/t", &BTreeMap::new()).unwrap();
        let data = serialised(&[3, 4, 7, 11, 18, 29]);
        let text = encode(&data);
        let vector = DeletionVector::describe(&location, "i", &text, None, data.len() as u64, 6).unwrap();
        let rows = block_on(vector.rows(&InMemory::new())).unwrap();
        assert_eq!(rows.iter().collect::<Vec<_>>(), [3, 4, 7, 11, 18, 29]);
    }

    #[test]
    fn a_stored_vector_is_read_and_checked() {
        let store = InMemory::new();
        let path = Path::from("t/v.bin");
        let data = serialised(&[0, 1 << 33]);
        let mut file = vec![1];
        file.extend(framed(&serialised(&[5])));
        let offset = file.len() as u64;
        file.extend(framed(&data));
        let size = data.len() as u64;
        let vector = |offset, size, cardinality| {
            DeletionVector::new(Storage::File { path: path.clone(), offset }, size, cardinality)
        };
        block_on(store.put(&path, PutPayload::from(file.clone()))).unwrap();
        let rows = block_on(vector(offset, size, 2).rows(&store)).unwrap();
        assert_eq!(rows.iter().collect::<Vec<_>>(), [0, 1 << 33]);
        assert!(block_on(vector(offset, size, 3).rows(&store)).is_err());
        assert!(block_on(vector(offset, size - 1, 2).rows(&store)).is_err());
        assert!(block_on(vector(offset + 1, size, 2).rows(&store)).is_err());
        *file.last_mut().unwrap() ^= 1;
        block_on(store.put(&path, PutPayload::from(file))).unwrap();
        assert!(block_on(vector(offset, size, 2).rows(&store)).is_err());
    }

    #[test]
    fn vectors_split_at_row_groups() {
        let deleted: RoaringTreemap = [0, 1, 4, 5, 6, 7, 8, 9, 13].into_iter().collect();
        let plan = access_plan(&deleted, [4, 4, 4, 4]).unwrap();
        let groups = plan.inner();
        assert_eq!(
            groups[0],
            RowGroupAccess::Selection(vec![RowSelector::skip(2), RowSelector::select(2)].into())
        );
        assert_eq!(groups[1], RowGroupAccess::Skip);
        assert_eq!(
            groups[2],
            RowGroupAccess::Selection(vec![RowSelector::skip(2), RowSelector::select(2)].into())
        );
        let last = [RowSelector::select(1), RowSelector::skip(1), RowSelector::select(2)];
        assert_eq!(groups[3], RowGroupAccess::Selection(last.to_vec().into()));
        assert_eq!(access_plan(&RoaringTreemap::new(), [7]).unwrap().inner(), [RowGroupAccess::Scan]);
    }

    #[test]
    fn a_vector_beyond_the_files_rows_is_refused() {
        let deleted: RoaringTreemap = [9].into_iter().collect();
        assert!(access_plan(&deleted, [5, 4]).is_err());
        assert!(access_plan(&deleted, [5, 5]).is_ok());
    }

    #[test]
    fn the_checksum_is_the_common_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }
}
