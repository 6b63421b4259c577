//! Every attribute and derive with `crate = ..`, in a crate that knows goka as `streams`. It shows that generated
//! code names the crate by that path alone: there is no `goka` here.

use serde::{Deserialize, Serialize};
use streams::prelude::*;

/// A user's number.
#[derive(Debug, Clone, PartialEq, Eq, streams::Key)]
#[key(crate = streams)]
pub struct UserId(u64);

/// A page's address.
#[derive(Debug, Clone, PartialEq, Eq, streams::Codec)]
#[codec(crate = streams)]
pub struct Page(String);

/// What is known of a user.
#[derive(Debug, Clone, Default, Serialize, Deserialize, streams::Schema)]
#[schema(crate = streams)]
pub struct Profile {
    visits: u64,
}

/// Visits of pages.
#[stream("page-visits", key = UserId, value = Page, crate = streams)]
#[derive(Debug)]
pub struct PageVisits;

/// The limits of users.
#[table("limits", key = UserId, value = u64, crate = ::streams)]
#[derive(Debug)]
pub struct Limits;

/// Keeps profiles.
#[derive(Debug, Default)]
pub struct Profiles;

#[processor(group = "profiles", persist = Json<Profile>, crate = streams)]
#[join(Limits)]
impl Profiles {
    #[input(PageVisits)]
    fn on_visit(&self, ctx: &mut Context, _page: Page) -> Result<()> {
        let limit = ctx.join(Limits)?.unwrap_or(u64::MAX);
        let mut profile = ctx.value()?.unwrap_or_default();
        profile.visits = limit.min(profile.visits + 1);
        ctx.set_value(&profile)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use streams::simulation::Workload;
    use streams::tester::Tester;

    use super::{Limits, Page, PageVisits, Profiles, UserId};

    #[test]
    fn a_renamed_dependency_works() {
        let mut app = Tester::of::<Profiles>();
        app.input(Limits).send(UserId(1), &2);
        for _ in 0..3 {
            app.input(PageVisits).send(UserId(1), &Page("/".to_owned()));
        }
        let profile = app.table::<Profiles>().get(UserId(1));
        assert_eq!(profile.expect("it is there").visits, 2);
    }

    #[streams::simulate(seeds = 2, instances = 1, crate = streams)]
    fn it_can_be_simulated() -> Workload {
        Workload::of::<Profiles>()
            .table(Limits, [(UserId(1), 5)])
            .input(PageVisits, 20, |dice| {
                (UserId(dice.below(3)), Page("/".to_owned()))
            })
    }
}
