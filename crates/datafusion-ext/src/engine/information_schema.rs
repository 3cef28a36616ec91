//! `information_schema` with tables of the caller's beside the engine's own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use datafusion::catalog::information_schema::{INFORMATION_SCHEMA, InformationSchemaProvider};
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemorySchemaProvider, SchemaProvider, TableFunction, TableProvider,
};
use datafusion::error::Result;
use datafusion::execution::SessionState;

/// The engine resolves `information_schema` without asking a catalog while its setting is on, and then has
/// no place for more tables. So it is a schema of the catalogs here, and [`Self::planning`] switches the
/// setting off while names are resolved.
#[derive(Debug)]
pub struct InformationSchema {
    // Weak, because the catalogs own this schema.
    catalogs: Weak<dyn CatalogProviderList>,
    functions: Mutex<HashMap<String, Arc<TableFunction>>>,
    added: MemorySchemaProvider,
}

impl InformationSchema {
    pub fn new(catalogs: &Arc<dyn CatalogProviderList>) -> Arc<Self> {
        Arc::new(Self {
            catalogs: Arc::downgrade(catalogs),
            functions: Mutex::default(),
            added: MemorySchemaProvider::new(),
        })
    }

    /// Add this schema to a catalog.
    pub fn join(self: &Arc<Self>, catalog: &dyn CatalogProvider) -> Result<()> {
        catalog.register_schema(INFORMATION_SCHEMA, Arc::clone(self) as _).map(|_| ())
    }

    /// The state to plan a text with that may name tables of this schema.
    pub fn planning(&self, mut state: SessionState) -> SessionState {
        let functions = state.table_functions().clone();
        *self.functions.lock().unwrap_or_else(PoisonError::into_inner) = functions;
        state.config_mut().options_mut().catalog.information_schema = false;
        state
    }

    fn standard(&self) -> Option<InformationSchemaProvider> {
        let functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(InformationSchemaProvider::new(self.catalogs.upgrade()?).with_table_functions(functions))
    }
}

#[async_trait]
impl SchemaProvider for InformationSchema {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.added.table_names();
        names.extend(self.standard().map(|standard| standard.table_names()).unwrap_or_default());
        names.sort();
        names.dedup();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let name = name.to_ascii_lowercase();
        match (self.added.table(&name).await?, self.standard()) {
            (Some(added), _) => Ok(Some(added)),
            (None, Some(standard)) => standard.table(&name).await,
            (None, None) => Ok(None),
        }
    }

    fn register_table(
        &self,
        name: String,
        table: Arc<dyn TableProvider>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        self.added.register_table(name, table)
    }

    fn deregister_table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.added.deregister_table(name)
    }

    fn table_exist(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.added.table_exist(&name) || self.standard().is_some_and(|standard| standard.table_exist(&name))
    }
}
