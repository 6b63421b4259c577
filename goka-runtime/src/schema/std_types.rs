//! The shapes that serde gives the types of the standard library.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::{NonZero, Wrapping};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, SystemTime};

use super::{Describer, Schema, Tag};

macro_rules! words {
    ($($word:literal: $($type:ty),*;)*) => {$($(
        impl Schema for $type {
            fn describe(to: &mut Describer) {
                to.word($word);
            }
        }
    )*)*};
}

words! {
    "bool": bool;
    "integer": i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize;
    "integer": NonZero<i8>, NonZero<i16>, NonZero<i32>, NonZero<i64>, NonZero<i128>, NonZero<isize>;
    "integer": NonZero<u8>, NonZero<u16>, NonZero<u32>, NonZero<u64>, NonZero<u128>, NonZero<usize>;
    "number": f32, f64;
    "string": String, str, char, PathBuf, uuid::Uuid;
    "string": IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6;
    "null": ();
    "any": serde_json::Value;
}

impl<T: 'static> Schema for PhantomData<T> {
    fn describe(to: &mut Describer) {
        to.word("null");
    }
}

/// Types that are described by one call.
macro_rules! shapes {
    ($([$($parameters:tt)*] $type:ty => $call:ident<$($of:ident),+>;)*) => {$(
        impl<$($parameters)*> Schema for $type {
            fn describe(to: &mut Describer) {
                to.$call::<$($of),+>();
            }
        }
    )*};
}

shapes! {
    [T: Schema + ?Sized] Box<T> => of<T>;
    [T: Schema + ?Sized] Rc<T> => of<T>;
    [T: Schema + ?Sized] Arc<T> => of<T>;
    [T: Schema + ?Sized] RefCell<T> => of<T>;
    [T: Schema + ?Sized] Mutex<T> => of<T>;
    [T: Schema + ?Sized] RwLock<T> => of<T>;
    [T: Schema] Cell<T> => of<T>;
    [T: Schema] Wrapping<T> => of<T>;
    [T: Schema + ToOwned + ?Sized] Cow<'static, T> => of<T>;
    [T: Schema] Option<T> => optional<T>;
    [T: Schema] [T] => list<T>;
    [T: Schema] Vec<T> => list<T>;
    [T: Schema] VecDeque<T> => list<T>;
    [T: Schema] LinkedList<T> => list<T>;
    [T: Schema] BinaryHeap<T> => list<T>;
    [T: Schema] BTreeSet<T> => list<T>;
    [T: Schema, S: 'static] HashSet<T, S> => list<T>;
    [K: Schema, V: Schema] BTreeMap<K, V> => map<K, V>;
    [K: Schema, V: Schema, S: 'static] HashMap<K, V, S> => map<K, V>;
}

impl<T: Schema, E: Schema> Schema for Result<T, E> {
    fn describe(to: &mut Describer) {
        to.choice(Tag::Outside, |parts| {
            parts.add("Ok", |to| to.of::<T>());
            parts.add("Err", |to| to.of::<E>());
        });
    }
}

impl<T: Schema, const N: usize> Schema for [T; N] {
    fn describe(to: &mut Describer) {
        to.tuple(|parts| {
            for _ in 0..N {
                parts.item(|to| to.of::<T>());
            }
        });
    }
}

macro_rules! tuples {
    ($($($item:ident)+;)*) => {$(
        impl<$($item: Schema),+> Schema for ($($item,)+) {
            fn describe(to: &mut Describer) {
                to.tuple(|parts| {
                    $(parts.item(|to| to.of::<$item>());)+
                });
            }
        }
    )*};
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
}

fn seconds_and(to: &mut Describer, seconds: &str, nanos: &str) {
    to.object(|fields| {
        fields.add(seconds, |to| to.of::<u64>());
        fields.add(nanos, |to| to.of::<u32>());
    });
}

impl Schema for Duration {
    fn describe(to: &mut Describer) {
        seconds_and(to, "secs", "nanos");
    }
}

impl Schema for SystemTime {
    fn describe(to: &mut Describer) {
        seconds_and(to, "secs_since_epoch", "nanos_since_epoch");
    }
}
