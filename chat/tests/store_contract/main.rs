//! The contract of `MessageStore`: one set of tests, held against both implementors.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod faults;
mod fixture;
mod groups;
mod model;
mod races;
mod random;
mod rates;
mod reads;
mod samples;
mod threads;
mod writes;

macro_rules! contract {
    ($store:ident: $($module:ident::$name:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::fixture::$store(async |subject| crate::$module::$name(subject).await).await;
            }
        )*
    };
}

macro_rules! on_both {
    ($($tests:tt)*) => {
        /// `SQLite`.
        mod embedded {
            contract!(embedded: $($tests)*);

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_busy_file_is_unavailable_in_time() {
                crate::faults::a_busy_file_is_unavailable_in_time().await;
            }

            #[test]
            fn a_file_that_cannot_be_opened_is_told_in_one_line() {
                crate::faults::a_file_that_cannot_be_opened_is_told_in_one_line();
            }
        }

        /// `MongoDB`.
        mod servers {
            contract!(servers: $($tests)*);

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn floors_are_healed() {
                crate::fixture::servers(async |subject| crate::faults::floors_are_healed(subject).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_silent_server_is_unavailable_in_time() {
                crate::faults::a_silent_server_is_unavailable_in_time().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn an_absent_server_is_told_in_one_line() {
                crate::faults::an_absent_server_is_told_in_one_line().await;
            }

            contract!(servers:
                groups::channels_share_inserts,
                groups::a_refused_document_fails_its_own_channel_only,
            );

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn indexes_are_there_and_used() {
                crate::fixture::servers(async |subject| crate::faults::indexes_are_there_and_used(subject).await)
                    .await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn replaced_indexes_go() {
                crate::fixture::servers(async |subject| crate::faults::replaced_indexes_go(subject).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_message_lists_its_own_tick() {
                crate::fixture::servers(async |subject| crate::faults::a_message_lists_its_own_tick(subject).await)
                    .await;
            }
        }
    };
}

on_both! {
    writes::every_field_survives,
    writes::odd_characters_survive,
    writes::an_insert_stops_at_a_taken_tick,
    writes::an_insert_stops_at_a_repeated_client_message_id,
    writes::a_repeated_client_message_id_outweighs_a_taken_tick,
    writes::the_same_message_again_is_a_repeat,
    writes::one_of_the_same_messages_at_once_is_written,
    writes::client_message_ids_are_of_one_author_in_one_channel,
    writes::nothing_to_insert_is_no_error,
    writes::a_replacement_needs_the_expected_tick,
    writes::a_replacement_cannot_take_a_listed_tick,
    writes::a_vacated_tick_stays_taken_while_it_is_listed,
    writes::the_head_survives_a_purge,
    writes::a_deleted_channel_is_empty,
    writes::everything_is_there_after_another_opening,
    reads::an_empty_channel_has_nothing,
    reads::pages_go_both_ways_within_bounds,
    reads::changes_come_by_tick,
    reads::newest_respects_floors_and_skips_what_does_not_count,
    reads::unread_is_what_others_wrote_in_the_stretch,
    reads::heads_are_told_at_once,
    reads::get_is_strict_about_the_channel,
    reads::lists_cost_one_query,
    threads::thread_pages_hold_replies_only,
    threads::a_summary_is_counted_afresh,
    threads::pending_replies_are_found_and_cleared,
    groups::each_of_many_channels_gets_its_own_prefix,
    groups::channels_with_two_writers_each_stay_dense,
    races::writers_that_race_leave_no_gap_and_no_repeat,
    races::a_store_answers_after_many_callers_went_away,
    races::one_of_many_replacements_wins,
    random::behaves_like_the_model,
    rates::grouped_inserts,
}
