//! Reading jobs along an index.

use sqlx::postgres::PgConnection;

use super::Wanted;
use super::rank::Rank;
use super::way::{Along, Way};
use crate::datasvc::ground::error::Result;
use crate::datasvc::ground::ids::JobId;
use crate::datasvc::ground::page::{NamePattern, TimeOrder};

/// How many ids one request compares with the end of one.
const IDS_LOOKED_AT: i64 = 8_000;
/// Of so many places the jobs are read at once, without looking first which ones come first.
const FEW_PLACES: usize = 4;
/// How often places are read until their first jobs are known. Each time some four times as much of each is read.
const MAX_ROUNDS: usize = 6;

/// The jobs that a look has found.
pub(super) struct MatchingJobs {
    /// In the list's order.
    pub(super) ids: Vec<JobId>,
    /// Up to where all was looked at, if that is not everything.
    pub(super) horizon: Option<JobId>,
}

/// What a look has seen: all jobs of a way down to its horizon.
pub(super) struct Seen {
    /// In the list's order.
    jobs: Vec<SeenJob>,
    /// `None`: there are no more.
    pub(super) horizon: Option<Rank>,
}

/// A job that was looked at.
struct SeenJob {
    rank: Rank,
    /// The number of its place, from 1.
    place: i64,
    /// Whether the caller may see it.
    shown: bool,
    /// Whether the filter lets it through.
    fits: bool,
}

/// The first jobs of a place, in order.
struct PlaceRanks {
    place: i64,
    ranks: Vec<Rank>,
}

/// A place of an index that is not read to its end.
#[derive(Clone)]
struct IndexPlace {
    beginning: (String, String),
    /// Up to here it was read.
    before: Rank,
}

impl MatchingJobs {
    /// With those of another look, at most so many: all down to where both have looked.
    pub(super) fn merged(self, other: Self, order: TimeOrder, limit: i64) -> Self {
        let rank = |id| Rank::of(id, order);
        let horizon = self.horizon.map(rank).max(other.horizon.map(rank));
        let mut ranks: Vec<_> = self.ids.into_iter().chain(other.ids).map(rank).collect();
        ranks.sort_unstable_by(|one, other| other.cmp(one));
        ranks.retain(|rank| horizon.is_none_or(|horizon| *rank >= horizon));
        ranks.truncate(usize::try_from(limit).unwrap_or(0));
        let id = |rank: Rank| rank.id(order);
        Self { ids: ranks.into_iter().map(id).collect(), horizon: horizon.map(id) }
    }
}

impl Seen {
    fn new(mut jobs: Vec<SeenJob>, horizon: Option<Rank>) -> Self {
        jobs.sort_unstable_by_key(|job| std::cmp::Reverse(job.rank));
        Self { jobs, horizon }
    }

    /// From what was read of each place, which may have more.
    fn of_few_places(jobs: Vec<SeenJob>, places: usize, each: i64) -> Self {
        let mut of_place = vec![(0, None); places];
        for job in &jobs {
            let place = usize::try_from(job.place - 1).ok().and_then(|at| of_place.get_mut(at));
            if let Some((count, last)) = place {
                *count += 1;
                *last = Some(last.map_or(job.rank, |last: Rank| last.min(job.rank)));
            }
        }
        let horizon = of_place.iter().filter(|(count, _)| *count == each).filter_map(|(_, last)| *last).max();
        let mut seen = Self::new(jobs, horizon);
        seen.jobs.retain(|job| horizon.is_none_or(|horizon| job.rank >= horizon));
        seen
    }

    pub(super) fn matching(&self) -> i64 {
        self.jobs.iter().filter(|job| job.shown && job.fits).count() as i64
    }

    /// Whether these are so many, or all.
    pub(super) fn is_enough(&self, limit: i64) -> bool {
        self.horizon.is_none() || self.matching() >= limit
    }

    /// Whether the caller may see the greater part of what was looked at.
    pub(super) fn shows_most(&self) -> bool {
        2 * self.jobs.iter().filter(|job| job.shown).count() > self.jobs.len()
    }

    /// Adds what comes after it.
    pub(super) fn extend(&mut self, more: Self) {
        self.jobs.extend(more.jobs);
        self.horizon = more.horizon;
    }

    pub(super) fn into_matching(self, order: TimeOrder, limit: i64) -> MatchingJobs {
        let matching = self.jobs.into_iter().filter(|job| job.shown && job.fits).map(|job| job.rank.id(order));
        let limit = usize::try_from(limit).unwrap_or(0);
        MatchingJobs { ids: matching.take(limit).collect(), horizon: self.horizon.map(|rank| rank.id(order)) }
    }
}

/// Which jobs are in a place, in the order of its index, for a macro that reads them: the condition, and what they are
/// ordered by before their ids if the newest come first and if the oldest do.
macro_rules! in_place {
    ($along:expr, $read:ident) => {
        match $along {
            Along::Ids => $read!("true", "", ""),
            Along::Applications => {
                $read!("application = app", "case when $6 then application end desc, ", "application, ")
            }
            Along::Statuses => {
                $read!("status = word and status <> 'succeeded'", "case when $6 then status end desc, ", "status, ")
            }
            Along::ApplicationsAndStatuses => $read!(
                "application = app and status = word and status in ('failed', 'cancelled', 'lost')",
                "case when $6 then application end desc, case when $6 then status end desc, ",
                "application, status, "
            ),
            Along::Name => $read!("name = word", "case when $6 then name end desc, ", "name, "),
            Along::Own => {
                $read!("application = '' and username = word", "case when $6 then username end desc, ", "username, ")
            }
            Along::Parent => $read!("parent = word::uuid", "case when $6 then parent end desc, ", "parent, "),
            Along::Types => {
                $read!(
                    "job_type = word and job_type <> 'action'",
                    "case when $6 then job_type end desc, ",
                    "job_type, "
                )
            }
        }
    };
}

/// Reads the first ids of each place, from the index alone.
macro_rules! ids_of {
    ($connection:expr, $places:expr, $order:expr, $floor:expr, $each:expr, $place:literal, $newest:literal, $oldest:literal) => {
        sqlx::query!(
            r#"select place as "place!", ids as "ids!: Vec<JobId>"
               from unnest($1::text[], $2::text[], $3::uuid[]) with ordinality as places (app, word, before, place)
                   cross join lateral (
                       select array_agg(id) as ids from (
                           select id from jobs where "#
                + $place
                + r#" and case when $6 then id < before and id >= $4 else id > before and id <= $4 end
                           order by "#
                + $newest
                + "case when $6 then id end desc, "
                + $oldest
                + r#"id limit $5
                       ) as of_place
                   ) as found
               where ids is not null"#,
            &column($places, |place| place.beginning.0.clone()),
            &column($places, |place| place.beginning.1.clone()),
            &column($places, |place| place.before.id($order)) as _,
            $floor.id($order) as _,
            $each,
            $order.is_newest_first()
        )
        .fetch_all($connection)
        .await?
        .into_iter()
        .map(|row| PlaceRanks { place: row.place, ranks: row.ids.into_iter().map(|id| Rank::of(id, $order)).collect() })
        .collect()
    };
}

/// Reads the first jobs of each place, and compares them with the filter.
macro_rules! jobs_of {
    (
        $connection:expr, $places:expr, $order:expr, $floor:expr, $each:expr, $wanted:expr, $along:expr,
        $place:literal, $newest:literal, $oldest:literal
    ) => {
        sqlx::query!(
            r#"select id as "id!: JobId", place as "place!",
                   coalesce($7::text[] is null or application = any($7), false) as "shown!",
                   (($8::text is null or name like $8)
                       and ($9::text[] is null or status = any($9))
                       and ($10::text[] is null or job_type = any($10))
                       and ($11::text is null or coalesce(plugin = $11, false))
                       and ($12::text is null or coalesce(username = $12, false))) as "fits!"
               from unnest($1::text[], $2::text[], $3::uuid[]) with ordinality as places (app, word, before, place)
                   cross join lateral (
                       select id, application, name, status, job_type, plugin, username from jobs where "#
                + $place
                + r#" and case when $6 then id < before and id >= $4 else id > before and id <= $4 end
                       order by "#
                + $newest
                + "case when $6 then id end desc, "
                + $oldest
                + r#"id limit $5
                   ) as found"#,
            &column($places, |place| place.beginning.0.clone()),
            &column($places, |place| place.beginning.1.clone()),
            &column($places, |place| place.before.id($order)) as _,
            $floor.id($order) as _,
            $each,
            $order.is_newest_first(),
            $wanted.applications_beside($along) as _,
            $wanted.filter.name.as_ref().map(NamePattern::like),
            $wanted.statuses_as_text() as _,
            $wanted.types_as_text() as _,
            $wanted.filter.plugin,
            $wanted.filter.username
        )
        .fetch_all($connection)
        .await?
        .into_iter()
        .map(|row| SeenJob { rank: Rank::of(row.id, $order), place: row.place, shown: row.shown, fits: row.fits })
        .collect()
    };
}

fn column<T>(places: &[IndexPlace], of: impl Fn(&IndexPlace) -> T) -> Vec<T> {
    places.iter().map(of).collect()
}

impl Wanted {
    /// The first jobs of a way after that one, at most so many, with those that do not match.
    pub(super) async fn look_along(
        &self,
        connection: &mut PgConnection,
        way: &Way,
        after: Option<Rank>,
        count: i64,
    ) -> Result<Seen> {
        let (floor, end) = self.bounds(after);
        let places = way.places.iter().map(|beginning| IndexPlace { beginning: beginning.clone(), before: end });
        let places: Vec<_> = places.collect();
        if way.is_exact {
            let (ranks, horizon) = first(connection, way.along, places, self.order(), floor, count).await?;
            let jobs = ranks.into_iter().map(|rank| SeenJob { rank, place: 0, shown: true, fits: true });
            return Ok(Seen { jobs: jobs.collect(), horizon });
        }
        if places.len() <= FEW_PLACES {
            let each = (2 * count / places.len() as i64).clamp(1, count);
            let jobs = self.read(connection, way.along, &places, floor, each).await?;
            return Ok(Seen::of_few_places(jobs, places.len(), each));
        }
        let (_, horizon) = first(connection, way.along, places.clone(), self.order(), floor, count).await?;
        let jobs = self.read(connection, way.along, &places, horizon.unwrap_or(floor), count).await?;
        Ok(Seen::new(jobs, horizon))
    }

    /// The first jobs after that one whose ids end like this.
    pub(super) async fn look_for_suffix(
        &self,
        connection: &mut PgConnection,
        suffix: &str,
        after: Option<Rank>,
        limit: i64,
    ) -> Result<MatchingJobs> {
        let order = self.order();
        let (floor, end) = self.bounds(after);
        let (floor, end) = (floor.id(order), end.id(order));
        let suffix = suffix.to_ascii_lowercase();
        // Whole bytes are compared first, which takes half the time of texts.
        let digits: Vec<u8> = suffix.bytes().filter(u8::is_ascii_hexdigit).collect();
        let digits = &digits[digits.len() % 2..];
        let bytes = digits.chunks(2).filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        let bytes: Vec<u8> = bytes.collect();
        let horizon = sqlx::query_scalar!(
            r#"select id as "id: JobId" from jobs
               where case when $4 then id < $1 and id >= $2 else id > $1 and id <= $2 end
               order by case when $4 then id end desc, id offset $3::bigint - 1 limit 1"#,
            end as _,
            floor as _,
            IDS_LOOKED_AT,
            order.is_newest_first()
        )
        .fetch_optional(&mut *connection)
        .await?;
        let ids = sqlx::query_scalar!(
            r#"select jobs.id as "id: JobId"
               from (
                   select id from jobs where case when $15 then id < $1 and id >= $2 else id > $1 and id <= $2 end
                   order by case when $15 then id end desc, id limit $3
               ) as page join jobs on jobs.id = page.id
               where substring(uuid_send(page.id) from 17 - length($4::bytea)) = $4::bytea
                   and right(page.id::text, length($5)) = $5
                   and ($6::text[] is null or application = any($6) or application = '' and username = $14)
                   and ($7::text is null or name like $7)
                   and ($8::text[] is null or status = any($8))
                   and ($9::text[] is null or job_type = any($9))
                   and ($10::text is null or plugin = $10)
                   and ($11::text is null or username = $11)
                   and ($12::uuid is null or parent = $12)
               order by case when $15 then jobs.id end desc, jobs.id limit $13"#,
            end as _,
            horizon.unwrap_or(floor) as _,
            IDS_LOOKED_AT,
            bytes,
            suffix,
            self.applications.as_deref() as _,
            self.filter.name.as_ref().map(NamePattern::like),
            self.statuses_as_text() as _,
            self.types_as_text() as _,
            self.filter.plugin,
            self.filter.username,
            self.filter.parent as _,
            limit,
            self.own,
            order.is_newest_first()
        )
        .fetch_all(connection)
        .await?;
        Ok(MatchingJobs { ids, horizon })
    }

    /// Those with these ids.
    pub(super) async fn look_for_ids(
        &self,
        connection: &mut PgConnection,
        after: Option<Rank>,
        limit: i64,
    ) -> Result<MatchingJobs> {
        let order = self.order();
        let (floor, end) = self.bounds(after);
        let ids = sqlx::query_scalar!(
            r#"select id as "id: JobId" from jobs
               where id = any($1) and case when $14 then id < $2 and id >= $3 else id > $2 and id <= $3 end
                   and ($4::text[] is null or application = any($4) or application = '' and username = $11)
                   and ($5::text is null or name like $5)
                   and ($6::text[] is null or status = any($6))
                   and ($7::text[] is null or job_type = any($7))
                   and ($8::text is null or plugin = $8)
                   and ($9::text is null or username = $9)
                   and ($10::uuid is null or parent = $10)
                   and ($12::text is null or right(id::text, length($12)) = lower($12))
               order by case when $14 then id end desc, id limit $13"#,
            &self.filter.ids[..] as _,
            end.id(order) as _,
            floor.id(order) as _,
            self.applications.as_deref() as _,
            self.filter.name.as_ref().map(NamePattern::like),
            self.statuses_as_text() as _,
            self.types_as_text() as _,
            self.filter.plugin,
            self.filter.username,
            self.filter.parent as _,
            self.own,
            self.filter.id_suffix,
            limit,
            order.is_newest_first()
        )
        .fetch_all(connection)
        .await?;
        Ok(MatchingJobs { ids, horizon: None })
    }

    fn order(&self) -> TimeOrder {
        self.filter.order
    }

    /// The last that may be in the list, and what all in it come after.
    fn bounds(&self, after: Option<Rank>) -> (Rank, Rank) {
        // Ids have the time in them that is shown of jobs.
        let since = self.filter.since.map(JobId::from_time);
        let until = self.filter.until.map(JobId::from_time);
        let (last, beginning) = match self.order() {
            TimeOrder::Newest => (since, until),
            TimeOrder::Oldest => (until.map(JobId::before), since.map(JobId::before)),
        };
        let rank = |id| Rank::of(id, self.order());
        let beginning = [after, beginning.map(rank)].into_iter().flatten().min();
        (last.map_or(Rank::LAST, rank), beginning.unwrap_or(Rank::BEFORE_ALL))
    }

    async fn read(
        &self,
        connection: &mut PgConnection,
        along: Along,
        places: &[IndexPlace],
        floor: Rank,
        each: i64,
    ) -> Result<Vec<SeenJob>> {
        let order = self.order();
        macro_rules! jobs_in {
            ($place:literal, $newest:literal, $oldest:literal) => {
                jobs_of!(connection, places, order, floor, each, self, along, $place, $newest, $oldest)
            };
        }
        Ok(in_place!(along, jobs_in))
    }

    /// `None` if the way leads to what the caller may see only.
    fn applications_beside(&self, along: Along) -> Option<&[String]> {
        let are_places = matches!(along, Along::Applications | Along::ApplicationsAndStatuses | Along::Own);
        self.applications.as_deref().filter(|_| !are_places)
    }

    fn statuses_as_text(&self) -> Option<Vec<String>> {
        self.statuses.as_ref().map(|all| all.iter().map(|status| (*status).to_owned()).collect())
    }

    fn types_as_text(&self) -> Option<Vec<String>> {
        let types = &self.filter.types;
        (!types.is_empty()).then(|| types.iter().map(|kind| kind.as_str().to_owned()).collect())
    }
}

/// The first jobs of places that are not below `lowest`, so many of all together; and down to where these are all, if
/// there are more.
///
/// A little of each place is read first. The last of those that are wanted so far is a floor for the others: no place
/// has to be read below it. Those that are not read down to it are read further.
async fn first(
    connection: &mut PgConnection,
    along: Along,
    mut open: Vec<IndexPlace>,
    order: TimeOrder,
    lowest: Rank,
    count: i64,
) -> Result<(Vec<Rank>, Option<Rank>)> {
    let wanted = usize::try_from(count).unwrap_or(0);
    let (mut ranks, mut floor, mut each) = (Vec::new(), lowest, 0);
    for _ in 0..MAX_ROUNDS {
        if open.is_empty() {
            break;
        }
        each = (2 * count / open.len() as i64).max(4 * each).clamp(1, count);
        let read = read_ranks(connection, along, &open, order, floor, each).await?;
        let mut begun = open.into_iter().map(Some).collect::<Vec<_>>();
        open = Vec::new();
        for PlaceRanks { place, ranks: found } in read {
            let place = usize::try_from(place - 1).ok().and_then(|at| begun.get_mut(at)?.take());
            if let (Some(place), Some(last), true) = (place, found.last(), found.len() as i64 == each) {
                open.push(IndexPlace { before: *last, ..place });
            }
            ranks.extend(found);
        }
        ranks.sort_unstable_by(|one, other| other.cmp(one));
        ranks.truncate(wanted);
        if let (Some(last), true) = (ranks.last(), ranks.len() == wanted) {
            floor = *last;
        }
        open.retain(|place| place.before > floor);
    }
    let unread = open.iter().map(|place| place.before).max();
    let horizon = unread.or((floor > lowest).then_some(floor));
    if let Some(horizon) = horizon {
        ranks.retain(|rank| *rank >= horizon);
    }
    Ok((ranks, horizon))
}

async fn read_ranks(
    connection: &mut PgConnection,
    along: Along,
    places: &[IndexPlace],
    order: TimeOrder,
    floor: Rank,
    each: i64,
) -> Result<Vec<PlaceRanks>> {
    macro_rules! ids_in {
        ($place:literal, $newest:literal, $oldest:literal) => {
            ids_of!(connection, places, order, floor, each, $place, $newest, $oldest)
        };
    }
    Ok(in_place!(along, ids_in))
}
