//! The functions that SQL can call, with what no signature says.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::Volatility;

use crate::functions::INTERNAL;

/// One name of a function in one of its places.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Routine {
    pub name: String,
    /// `scalar`, `aggregate`, `window` or `table`; functions that take lambdas are scalar.
    pub kind: &'static str,
    /// `immutable`, `stable` or `volatile`; nothing for tables.
    pub volatility: Option<&'static str>,
    /// Whether DataFusion brings the function along.
    pub built_in: bool,
}

/// Every function of a session that texts are meant to call, under each of its names, sorted.
pub fn routines(state: &SessionState) -> Vec<Routine> {
    let of = |names: BTreeSet<String>, kind| {
        move |name: &str, volatility: Volatility| Routine {
            name: name.to_string(),
            kind,
            volatility: Some(word(volatility)),
            built_in: names.contains(name),
        }
    };
    let scalar =
        of(names(SessionStateDefaults::default_scalar_functions(), |f| (f.name(), f.aliases())), "scalar");
    let aggregate = of(
        names(SessionStateDefaults::default_aggregate_functions(), |f| (f.name(), f.aliases())),
        "aggregate",
    );
    let window =
        of(names(SessionStateDefaults::default_window_functions(), |f| (f.name(), f.aliases())), "window");
    let higher = of(
        names(SessionStateDefaults::default_higher_order_functions(), |f| (f.name(), f.aliases())),
        "scalar",
    );
    let mut found = Vec::new();
    found.extend(state.scalar_functions().iter().map(|(name, f)| scalar(name, f.signature().volatility)));
    found.extend(
        state.aggregate_functions().iter().map(|(name, f)| aggregate(name, f.signature().volatility)),
    );
    found.extend(state.window_functions().iter().map(|(name, f)| window(name, f.signature().volatility)));
    found.extend(
        state.higher_order_functions().iter().map(|(name, f)| higher(name, f.signature().volatility)),
    );
    let tables: BTreeSet<String> =
        SessionStateDefaults::default_table_functions().iter().map(|f| f.name().to_string()).collect();
    found.extend(state.table_functions().keys().map(|name| Routine {
        name: name.clone(),
        kind: "table",
        volatility: None,
        built_in: tables.contains(name),
    }));
    found.retain(|routine| !routine.name.starts_with(INTERNAL));
    found.sort();
    found
}

fn names<T: ?Sized>(functions: Vec<Arc<T>>, of: impl Fn(&T) -> (&str, &[String])) -> BTreeSet<String> {
    let each = functions.iter().flat_map(|function| {
        let (name, aliases) = of(function);
        std::iter::once(name.to_string()).chain(aliases.iter().cloned()).collect::<Vec<_>>()
    });
    each.collect()
}

fn word(volatility: Volatility) -> &'static str {
    match volatility {
        Volatility::Immutable => "immutable",
        Volatility::Stable => "stable",
        Volatility::Volatile => "volatile",
    }
}
