//! All that generated code may name. No promises: only the macros of the same version use it.

use std::any::TypeId;
use std::marker::PhantomData;

pub use inventory;

pub use crate::codec::{CodecFor, CodecOf};
pub use crate::context::Context;
pub use crate::dispatch::{
    AsyncCall, Call, ContextError, Deferred, HandlerError, Handling, Raw, Shared, SyncCall,
};
pub use crate::edges::{
    Emits, JoinedKey, JoinedPlace, Joins, LooksUp, Loops, Persists, Processor, SameKey, SamePlace,
};
pub use crate::graph::{
    Definition, Edge, EdgeKind, Format, GroupGraph, Location, Start, TopicKind, TopicSpec,
};
pub use crate::here;
pub use crate::key::Key;
pub use crate::param::{Param, Taker, edge, table, taker};
pub use crate::partitioner::{Murmur2, Partitioner};
pub use crate::registry::Entry;
pub use crate::topic::{Table, Topic};

use crate::text::{Text, same};

/// The place in the user's source whose spans the call has.
#[doc(hidden)]
#[macro_export]
macro_rules! here {
    () => {
        $crate::__private::Location {
            file: ::core::file!(),
            line: ::core::line!(),
            column: ::core::column!(),
        }
    };
}

/// The only place where generated code asks for a codec: one missing codec is one error.
pub const fn codec_of<C: CodecFor<V>, V>() -> CodecOf<V> {
    C::CODEC
}

/// What a handler may return.
#[diagnostic::on_unimplemented(
    message = "a handler returns `Result<()>`, this one returns `{Self}`",
    label = "expected `Result<()>`"
)]
pub trait Returns {
    /// Boxes the error.
    fn finish(self) -> Result<(), HandlerError>;
}

impl<E: Into<HandlerError>> Returns for Result<(), E> {
    fn finish(self) -> Result<(), HandlerError> {
        self.map_err(Into::into)
    }
}

/// The value that handlers share, as what it is.
pub fn this<P: 'static>(shared: &Shared) -> &P {
    let this = shared.downcast_ref();
    this.expect("a processor's handlers are called with its own value")
}

/// What an asynchronous handler's shim returns.
pub fn handling<'r>(handled: impl Future<Output = Result<(), HandlerError>> + 'r) -> Handling<'r> {
    Box::pin(handled)
}

/// Asks what a type is without demanding it: an inherent constant, where its bounds hold, hides that
/// of [`Otherwise`].
#[derive(Debug)]
pub struct Probe<T>(PhantomData<T>);

impl<P: Default + Send + Sync + 'static> Probe<P> {
    /// Makes the value that handlers share.
    pub const MAKE: Option<fn() -> Box<Shared>> = Some(|| Box::new(P::default()));
}

/// The other answer of a [`Probe`].
pub trait Otherwise {
    /// Nobody but the user can make the value that handlers share.
    const MAKE: Option<fn() -> Box<Shared>> = None;
}

impl<T> Otherwise for Probe<T> {}

/// A topic where only a table fits: a stream there is one error, and so is what is no topic.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a table",
    label = "not a table",
    note = "tables are declared with `#[table(..)]` or `#[processor(persist = ..)]`"
)]
pub trait ReadTable {
    /// See [`Topic::Key`].
    type Key;
    /// See [`Topic::Partitioner`].
    type Partitioner;
    /// See [`Topic::NAME`].
    const NAME: &'static str;
    /// See [`Topic::SPEC`].
    const SPEC: TopicSpec;
}

#[diagnostic::do_not_recommend]
impl<T: Table> ReadTable for T {
    type Key = <T as Topic>::Key;
    type Partitioner = <T as Topic>::Partitioner;
    const NAME: &'static str = <T as Topic>::NAME;
    const SPEC: TopicSpec = <T as Topic>::SPEC;
}

/// The identity of a processor, for the registry.
pub fn type_id<P: 'static>() -> TypeId {
    TypeId::of::<P>()
}

/// A definition that stands in where a processor has mistakes; its program does not compile.
pub const BROKEN: Definition = Definition {
    graph: GroupGraph {
        name: "",
        group: "",
        location: Location {
            file: "",
            line: 0,
            column: 0,
        },
        edges: &[],
    },
    make: None,
    type_id: type_id::<()>,
};

/// Checks a declared partition count.
#[track_caller]
pub const fn partitions(count: i32) -> Option<i32> {
    assert!(count > 0, "a topic has at least one partition");
    Some(count)
}

/// Checks that two inputs are not one topic under two names.
#[track_caller]
pub const fn distinct(a: &str, b: &str) {
    if same(a, b) {
        let text = Text::new().str("topic `").str(a).str("` is an input twice");
        panic!("{}", text.as_str());
    }
}

/// Checks that two topics of a group that is partitioned alike have the same declared count.
#[track_caller]
pub const fn copartitioned(a: TopicSpec, b: TopicSpec, who: &str) {
    if let (Some(first), Some(second)) = (a.partitions, b.partitions)
        && first != second
    {
        let text = Text::new()
            .str("`")
            .str(a.name)
            .str("` has ")
            .num(first)
            .str(" partitions and `")
            .str(b.name)
            .str("` has ")
            .num(second)
            .str(": ")
            .str(who)
            .str(" need equal counts");
        panic!("{}", text.as_str());
    }
}

/// Checks that an input has the group's key type.
pub const fn same_key<A: SameKey<K, T, P>, K, T, P>() {}

/// Checks that an input has the group's partitioner.
pub const fn same_place<A: SamePlace<K, T, P>, K, T, P>() {}

/// Checks that a joined table has the group's key type and its partitioner.
pub const fn joined<K, A, T, P>()
where
    P: Processor,
    K: JoinedKey<P::Key, T, P>,
    A: JoinedPlace<P::Partitioner, T, P>,
{
}

/// Checks that the value that handlers share can be.
pub const fn shared<P: Sync>() {}

/// The codec of a loopback whose handler has mistakes.
///
/// # Panics
/// Always: its program does not compile.
pub const fn broken<V>() -> CodecOf<V> {
    panic!("the loopback's handler has mistakes")
}
