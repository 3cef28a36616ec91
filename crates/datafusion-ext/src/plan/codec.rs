//! Scans of Delta tables inside encoded physical plans.
//!
//! A scan is encoded as the engine encodes scans of files, plus what that leaves behind: virtual columns,
//! how columns are found, deletion vectors, and whether rows keep the order of their files. Object stores
//! are named by URL alone; the engine that decodes must know them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{FieldRef, Schema};
use datafusion::common::config::TableParquetOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::TaskContext;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::ScalarUDF;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::generated::datafusion_common::TableParquetOptions as OptionsNode;
use datafusion_proto::physical_plan::from_proto::{
    parse_physical_expr_with_converter, parse_protobuf_file_scan_config,
};
use datafusion_proto::physical_plan::to_proto::{serialize_file_scan_config, serialize_maybe_filter};
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalPlanNodeExt, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::physical_plan_node::PhysicalPlanType;
use datafusion_proto::protobuf::{FileScanExecConf, MaybeFilter, PhysicalExprNode, PhysicalPlanNode};
use object_store::path::Path;
use prost::Message;

use super::canonical::{Keys, add_keys, canonical};
use crate::error::{Code, EngineError};
use crate::scan::{
    ColumnMapping, DeletionVector, DeltaAdapterFactory, DeltaSource, Storage, WantedRows, footers,
    require_value, required_column,
};

/// Starts the payload of the function that fails where a column has no value; the column's name follows.
const REQUIRED: &[u8] = b"require:";

/// Encodes and decodes scans of Delta tables; all else is the engine's own.
#[derive(Debug)]
pub struct DeltaCodec;

#[derive(Clone, PartialEq, Message)]
struct ScanNode {
    /// With the virtual columns at the end of its schema, and 32 bits for the limit.
    #[prost(message, optional, tag = "1")]
    scan: Option<FileScanExecConf>,
    #[prost(message, optional, tag = "2")]
    filter: Option<MaybeFilter>,
    #[prost(message, optional, tag = "3")]
    options: Option<OptionsNode>,
    /// How many columns of the schema are in the files.
    #[prost(uint64, tag = "4")]
    file_columns: u64,
    #[prost(string, tag = "5")]
    column_mapping: String,
    #[prost(message, repeated, tag = "6")]
    vectors: Vec<VectorNode>,
    #[prost(bool, tag = "7")]
    preserve_order: bool,
    #[prost(uint64, optional, tag = "8")]
    limit: Option<u64>,
    #[prost(bool, optional, tag = "9")]
    pushdown: Option<bool>,
}

/// A deletion vector of the file at a place among the groups.
#[derive(Clone, PartialEq, Message)]
struct VectorNode {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(uint64, tag = "2")]
    file: u64,
    /// The vector itself, or else where it is.
    #[prost(bytes = "vec", optional, tag = "3")]
    inline: Option<Vec<u8>>,
    #[prost(string, tag = "4")]
    path: String,
    #[prost(uint64, tag = "5")]
    offset: u64,
    #[prost(uint64, tag = "6")]
    size_bytes: u64,
    #[prost(uint64, tag = "7")]
    cardinality: u64,
    /// Whether the vector names the only rows that are wanted, instead of those that are deleted.
    #[prost(bool, tag = "8")]
    wanted: bool,
}

impl PhysicalExtensionCodec for DeltaCodec {
    fn try_decode(
        &self,
        _buf: &[u8],
        _inputs: &[Arc<dyn ExecutionPlan>],
        _context: &TaskContext,
        _converter: &dyn PhysicalProtoConverterExtension,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        // What a codec is given does not include the results of scalar subqueries, which filters can refer to.
        Err(EngineError::new(Code::Internal, "Delta scans are decoded by the converter").into())
    }

    fn try_encode(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> DataFusionResult<()> {
        let scan = plan.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
        let config = scan.and_then(|scan| scan.downcast_ref::<FileScanConfig>());
        let config = config.ok_or_else(|| not_encodable(plan.name()))?;
        let node = ScanNode::encoded(config, self, converter)?;
        let mut keys = Keys::new();
        add_keys(&mut keys, config.file_source.table_schema().table_schema());
        buf.extend(canonical(&node, &keys));
        Ok(())
    }

    fn try_encode_udf(&self, function: &ScalarUDF, buf: &mut Vec<u8>) -> DataFusionResult<()> {
        if let Some(column) = required_column(function) {
            buf.extend(REQUIRED);
            buf.extend(column.as_bytes());
        }
        Ok(())
    }

    fn try_decode_udf(&self, name: &str, buf: &[u8]) -> DataFusionResult<Arc<ScalarUDF>> {
        match buf.strip_prefix(REQUIRED).map(str::from_utf8) {
            Some(Ok(column)) => Ok(Arc::new(require_value(column))),
            _ => {
                let message = format!("The plan calls {name}, which this engine does not have");
                Err(EngineError::new(Code::PlanBytes, message).into())
            }
        }
    }
}

/// Decodes plans with scans of Delta tables. Expressions that were shared, as dynamic filters are, are shared
/// again.
#[derive(Default)]
pub struct Decoder {
    seen: RefCell<HashMap<u64, Arc<dyn PhysicalExpr>>>,
}

impl PhysicalProtoConverterExtension for Decoder {
    fn proto_to_execution_plan(
        &self,
        proto: &PhysicalPlanNode,
        context: &PhysicalPlanDecodeContext<'_>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        match &proto.physical_plan_type {
            Some(PhysicalPlanType::Extension(extension)) => {
                let node = ScanNode::decode(extension.node.as_slice()).map_err(|_| damaged())?;
                let scan = node.scan.as_ref().ok_or_else(damaged)?;
                let source = node.source(scan, context, self)?;
                let config = parse_protobuf_file_scan_config(scan, context, self, source)?;
                Ok(DataSourceExec::from_data_source(node.completed(config)?))
            }
            _ => proto.try_into_physical_plan_with_context(context, self),
        }
    }

    fn execution_plan_to_proto(
        &self,
        _plan: &Arc<dyn ExecutionPlan>,
        _codec: &dyn PhysicalExtensionCodec,
    ) -> DataFusionResult<PhysicalPlanNode> {
        Err(EngineError::new(Code::Internal, "A decoder does not encode").into())
    }

    fn proto_to_physical_expr(
        &self,
        proto: &PhysicalExprNode,
        schema: &Schema,
        context: &PhysicalPlanDecodeContext<'_>,
    ) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        let parsed = parse_physical_expr_with_converter(proto, schema, context, self)?;
        let Some(id) = proto.expr_id else {
            return Ok(parsed);
        };
        let seen = self.seen.borrow().get(&id).cloned();
        match seen {
            // Derived from the same expression, the two share their state.
            Some(seen) => seen.with_new_children(parsed.children().into_iter().cloned().collect()),
            None => {
                self.seen.borrow_mut().insert(id, Arc::clone(&parsed));
                Ok(parsed)
            }
        }
    }

    fn physical_expr_to_proto(
        &self,
        _expr: &Arc<dyn PhysicalExpr>,
        _codec: &dyn PhysicalExtensionCodec,
    ) -> DataFusionResult<PhysicalExprNode> {
        Err(EngineError::new(Code::Internal, "A decoder does not encode").into())
    }
}

impl ScanNode {
    fn encoded(
        config: &FileScanConfig,
        codec: &DeltaCodec,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> DataFusionResult<Self> {
        let kind = config.file_source.file_type();
        let source = config.file_source.downcast_ref::<DeltaSource>().ok_or_else(|| not_encodable(kind))?;
        let parquet = source.inner().downcast_ref::<ParquetSource>().ok_or_else(|| not_encodable(kind))?;
        let columns = parquet.table_schema();
        let mut scan = serialize_file_scan_config(config, codec, converter)?;
        scan.schema = Some(columns.table_schema().as_ref().try_into()?);
        if let Some(store) = source.shared_store() {
            scan.object_store_url = store.to_string();
        }
        Ok(Self {
            scan: Some(scan),
            filter: Some(serialize_maybe_filter(parquet.filter(), codec, converter)?),
            options: Some(parquet.table_parquet_options().try_into()?),
            file_columns: columns.file_schema().fields().len() as u64,
            column_mapping: source.mapping().as_str().to_string(),
            vectors: vectors(&config.file_groups),
            preserve_order: config.preserve_order,
            limit: config.limit.map(|limit| limit as u64),
            pushdown: source.pushdown(),
        })
    }

    fn source(
        &self,
        scan: &FileScanExecConf,
        decoding: &PhysicalPlanDecodeContext<'_>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> DataFusionResult<Arc<dyn FileSource>> {
        let environment = decoding.task_ctx().runtime_env();
        let url = ObjectStoreUrl::parse(&scan.object_store_url)?;
        let store = environment.object_store(&url).map_err(|_| {
            let message = format!(
                "The plan reads from {url}, which this engine does not know. Register the store first, with the \
                 same options"
            );
            DataFusionError::from(EngineError::new(Code::PlanBytes, message))
        })?;
        let footers = footers(&environment, &url);
        let columns = self.columns(scan)?;
        let options: TableParquetOptions = self.options.as_ref().ok_or_else(damaged)?.try_into()?;
        let filter = self.filter.as_ref().and_then(|filter| filter.expr.as_ref());
        let filter = filter
            .map(|filter| converter.proto_to_physical_expr(filter, columns.table_schema(), decoding))
            .transpose()?;
        let mut parquet = ParquetSource::new(columns).with_table_parquet_options(options);
        if let Some(filter) = filter {
            parquet = parquet.with_predicate(filter);
        }
        let readers = Arc::new(CachedParquetFileReaderFactory::new(store, footers));
        let source = DeltaSource::new(parquet, readers, self.mapping()?, self.pushdown);
        Ok(Arc::new(if self.vectors.is_empty() { source } else { source.with_vectors() }))
    }

    fn mapping(&self) -> DataFusionResult<ColumnMapping> {
        Ok(ColumnMapping::parse(&self.column_mapping)?)
    }

    fn columns(&self, scan: &FileScanExecConf) -> DataFusionResult<TableSchema> {
        let schema: Schema = scan.schema.as_ref().ok_or_else(damaged)?.try_into()?;
        let fields: &[FieldRef] = schema.fields();
        let (files, rest) = fields.split_at_checked(self.file_columns as usize).ok_or_else(damaged)?;
        let partitions = rest.split_at_checked(scan.table_partition_cols.len()).ok_or_else(damaged)?;
        let file_schema = Schema::new_with_metadata(files.to_vec(), schema.metadata().clone());
        Ok(TableSchema::builder(Arc::new(file_schema))
            .with_table_partition_cols(partitions.0.to_vec())
            .with_virtual_columns(partitions.1.to_vec())
            .build())
    }

    /// The scan with what the engine's own encoding leaves behind.
    fn completed(&self, config: FileScanConfig) -> DataFusionResult<FileScanConfig> {
        let mapping = self.mapping()?;
        let mut groups: Vec<Vec<PartitionedFile>> =
            config.file_groups.iter().map(|group| group.files().to_vec()).collect();
        for vector in &self.vectors {
            let group = groups.get_mut(vector.group as usize).ok_or_else(damaged)?;
            let file = group.get_mut(vector.file as usize).ok_or_else(damaged)?;
            let decoded = vector.decoded()?;
            match vector.wanted {
                true => drop(file.extensions.insert(WantedRows(Arc::new(decoded)))),
                false => drop(file.extensions.insert(decoded)),
            }
        }
        let mut config = FileScanConfigBuilder::from(config)
            .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
            .with_expr_adapter(Some(Arc::new(DeltaAdapterFactory { mapping }) as _))
            .with_limit(self.limit.map(|limit| limit as usize))
            .build();
        config.preserve_order = self.preserve_order;
        Ok(config)
    }
}

fn vectors(groups: &[FileGroup]) -> Vec<VectorNode> {
    let files = groups.iter().enumerate().flat_map(|(group, files)| {
        files.files().iter().enumerate().map(move |(at, file)| (group as u64, at as u64, file))
    });
    let vectors = files.flat_map(|(group, at, file)| {
        let deleted = file.extensions.get::<DeletionVector>();
        let wanted = file.extensions.get::<WantedRows>();
        let deleted = deleted.map(|vector| VectorNode::encoded(group, at, vector, false));
        let wanted = wanted.map(|rows| VectorNode::encoded(group, at, &rows.0, true));
        deleted.into_iter().chain(wanted)
    });
    vectors.collect()
}

impl VectorNode {
    fn encoded(group: u64, file: u64, vector: &DeletionVector, wanted: bool) -> Self {
        let (inline, path, offset) = match vector.storage() {
            Storage::Inline(data) => (Some(data.clone()), String::new(), 0),
            Storage::File { path, offset } => (None, path.to_string(), *offset),
        };
        let (size_bytes, cardinality) = (vector.size_bytes(), vector.cardinality());
        Self { group, file, inline, path, offset, size_bytes, cardinality, wanted }
    }

    fn decoded(&self) -> DataFusionResult<DeletionVector> {
        let storage = match &self.inline {
            Some(data) => Storage::Inline(data.clone()),
            None => {
                Storage::File { path: Path::parse(&self.path).map_err(|_| damaged())?, offset: self.offset }
            }
        };
        Ok(DeletionVector::new(storage, self.size_bytes, self.cardinality))
    }
}

fn damaged() -> DataFusionError {
    EngineError::new(Code::PlanBytes, "The bytes of a Delta scan are damaged").into()
}

fn not_encodable(what: &str) -> DataFusionError {
    let message = format!("Plans with {what} can't be written as bytes");
    EngineError::new(Code::PlanBytes, message).into()
}
