//! The processors of this program: those that the macros register and those registered by hand, in an order
//! that does not depend on the build. [`Application::validate`] checks them together. Pure. Read by everything
//! that runs processors.

use std::collections::HashSet;

use crate::edges::Processor;
use crate::graph::{Application, Definition};

pub use crate::graph::{Declared, Finding};

/// A processor that a macro registers.
#[doc(hidden)]
#[derive(Debug)]
pub struct Entry(pub &'static Definition);

inventory::collect!(Entry);

/// The processors of a program.
///
/// ```
/// # use goka_runtime as goka;
/// use goka::registry::{Finding, Registry};
///
/// let error = Registry::new().check().expect_err("there is none");
/// assert_eq!(error.findings, [Finding::Empty]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Registry {
    definitions: Vec<&'static Definition>,
}

impl Registry {
    /// An empty registry, for processors registered by hand.
    pub fn new() -> Self {
        Self::default()
    }

    /// All processors of this binary. Those of a library crate are among them only when the binary
    /// names the crate: `use that_crate as _;`.
    pub fn collect() -> Self {
        let mut registry = Self::new();
        for entry in inventory::iter::<Entry> {
            registry.definitions.push(entry.0);
        }
        registry
    }

    /// Adds a processor, if it is not there yet.
    #[must_use]
    pub fn with<P: Processor>(mut self) -> Self {
        self.definitions.push(P::DEFINITION);
        self
    }

    /// The processors, each once, sorted by group, name, file and line; not checked.
    pub fn definitions(&self) -> Vec<&'static Definition> {
        let mut definitions = self.definitions.clone();
        let mut seen = HashSet::new();
        definitions.retain(|definition| seen.insert((definition.type_id)()));
        definitions.sort_by_key(|definition| {
            let graph = &definition.graph;
            (
                graph.group,
                graph.name,
                graph.location.file,
                graph.location.line,
            )
        });
        definitions
    }

    /// The processors' graphs as one; not checked.
    ///
    /// ```
    /// # use goka_runtime as goka;
    /// use goka::registry::Registry;
    ///
    /// assert_eq!(Registry::new().application().groups(), []);
    /// ```
    pub fn application(&self) -> Application {
        let definitions = self.definitions();
        let graphs = definitions.iter().map(|definition| &definition.graph);
        graphs.collect()
    }

    /// The processors, sorted, if they can run in one program.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn check(&self) -> Result<Vec<&'static Definition>, RegistryError> {
        let definitions = self.definitions();
        let mut findings = self.application().validate();
        if definitions.is_empty() {
            findings.push(Finding::Empty);
        }
        if findings.is_empty() {
            Ok(definitions)
        } else {
            Err(RegistryError { findings })
        }
    }
}

/// Why the processors of a program cannot run together: all mistakes at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.findings))]
pub struct RegistryError {
    /// The mistakes; never empty.
    pub findings: Vec<Finding>,
}

fn lines(findings: &[Finding]) -> String {
    let texts: Vec<_> = findings.iter().map(Finding::to_string).collect();
    texts.join("\n")
}
