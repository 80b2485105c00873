//! Tables and laws of what is learned, and of the file that keeps it.

use std::fs;

use proptest::prelude::*;

use super::*;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn after_single_saves(rhythm: &mut Rhythm, habit: Habit, count: u32) -> Duration {
    for _ in 0..count {
        rhythm.single_save(habit);
    }
    rhythm.wait(habit)
}

#[test]
fn nothing_learned_is_safe() {
    let rhythm = Rhythm::default();
    for habit in Habit::ALL {
        assert_eq!(rhythm.wait(habit), SAFE);
    }
    assert_eq!(rhythm.burst_wait(), Duration::ZERO);
}

#[test]
fn single_saves_shrink_the_wait_of_their_habit_alone() {
    let mut rhythm = Rhythm::default();
    assert_eq!(after_single_saves(&mut rhythm, Habit::Renamed, 4), SAFE);
    assert_eq!(after_single_saves(&mut rhythm, Habit::Renamed, 1), LEAST);
    assert_eq!(rhythm.wait(Habit::Rewritten), SAFE);
}

#[test]
fn first_gaps_set_the_wait() {
    for (gap, wait) in [
        (ms(0), LEAST_OF_BURSTS),
        (ms(3), LEAST_OF_BURSTS),
        (ms(6), ms(18)),
        (ms(10), SAFE),
        (ms(12), SAFE),
        (ms(40), ms(80)),
        (ms(900), MOST),
    ] {
        let mut rhythm = Rhythm::default();
        rhythm.burst_began(Habit::Made, gap);
        let learned = after_single_saves(&mut rhythm, Habit::Made, FIRST_EVIDENCE);
        assert_eq!(learned, wait, "{gap:?}");
    }
}

#[test]
fn a_save_that_was_published_too_early_is_never_so_again_for_its_gap() {
    let mut rhythm = Rhythm::default();
    after_single_saves(&mut rhythm, Habit::Made, 5);
    rhythm.published_early(Habit::Made, ms(6));
    assert_eq!(rhythm.wait(Habit::Made), SAFE, "safe at once");
    assert_eq!(after_single_saves(&mut rhythm, Habit::Made, 9), SAFE);
    assert_eq!(
        after_single_saves(&mut rhythm, Habit::Made, 1),
        ms(18),
        "with twice the evidence"
    );
    for _ in 0..9 {
        rhythm.published_early(Habit::Made, ms(70));
    }
    assert_eq!(rhythm.wait(Habit::Made), ms(140));
    assert_eq!(
        rhythm.evidence(Habit::Made).needed,
        80,
        "evidence has a bound"
    );
}

#[test]
fn a_gap_is_forgotten_in_the_end() {
    let mut rhythm = Rhythm::default();
    rhythm.burst_began(Habit::Made, ms(90));
    let wait = after_single_saves(&mut rhythm, Habit::Made, FORGET_AFTER - 1);
    assert_eq!(wait, ms(180));
    assert_eq!(after_single_saves(&mut rhythm, Habit::Made, 1), LEAST);
    for _ in 0..=REMEMBERED_GAPS {
        rhythm.burst_began(Habit::Made, ms(90));
    }
    for _ in 0..REMEMBERED_GAPS {
        rhythm.burst_began(Habit::Made, ms(1));
    }
    assert_eq!(rhythm.wait(Habit::Made), LEAST_OF_BURSTS);
}

#[test]
fn bursts_wait_for_more_than_their_longest_pause() {
    let mut rhythm = Rhythm::default();
    rhythm.burst_paused(ms(20));
    rhythm.burst_paused_again(ms(150));
    rhythm.burst_paused(ms(30));
    assert_eq!(rhythm.burst_wait(), ms(375));
    assert_eq!(rhythm.longest_pause(), Some(ms(150)));
    for _ in 0..REMEMBERED_BURSTS {
        rhythm.burst_paused(ms(10));
    }
    assert_eq!(rhythm.burst_wait(), ms(25));
    rhythm.burst_paused(Duration::from_hours(1));
    assert_eq!(rhythm.burst_wait(), MOST_IN_BURST);
}

#[test]
fn what_is_kept_is_found_again_and_anything_else_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rhythm");
    assert_eq!(kept::load(&path), Rhythm::default(), "there is none");
    let mut rhythm = Rhythm::default();
    after_single_saves(&mut rhythm, Habit::Renamed, 7);
    rhythm.published_early(Habit::Rewritten, ms(9));
    rhythm.burst_paused(ms(33));
    kept::store(&rhythm, &path).unwrap();
    assert_eq!(kept::load(&path), rhythm);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    let sound = fs::read_to_string(&path).unwrap();
    for damaged in [
        String::new(),
        sound[..sound.len() / 2].to_owned(),
        sound.replace("\"format\":1", "\"format\":2"),
        sound.replace("\"early\":1", "\"early\":40"),
        sound.replace("9000", "4000000000"),
        sound.replace("9000", "-1"),
        sound.replace("[33000]", &format!("{:?}", [1; REMEMBERED_BURSTS + 1])),
        sound.replace("remade", "remaid"),
    ] {
        assert_ne!(damaged, sound);
        fs::write(&path, &damaged).unwrap();
        assert_eq!(kept::load(&path), Rhythm::default(), "{damaged}");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(kept::load(&path), Rhythm::default(), "no file at all");
}

#[derive(Debug, Clone)]
enum Seen {
    Single,
    Alone,
    Began,
    Early,
    Paused,
    Again,
}

proptest! {
    #[test]
    fn laws(seen in prop::collection::vec((
        prop::sample::select(Habit::ALL.to_vec()),
        prop::sample::select(vec![Seen::Single, Seen::Alone, Seen::Began, Seen::Early, Seen::Paused, Seen::Again]),
        0_u64..3_000_000,
    ), 0..200)) {
        let mut rhythm = Rhythm::default();
        for (habit, seen, gap) in seen {
            let gap = Duration::from_micros(gap);
            match seen {
                Seen::Single => rhythm.single_save(habit),
                Seen::Alone => rhythm.went_on_alone(habit, gap),
                Seen::Began => rhythm.burst_began(habit, gap),
                Seen::Early => {
                    rhythm.published_early(habit, gap);
                    prop_assert!(rhythm.wait(habit) >= SAFE);
                    prop_assert!(rhythm.wait(habit) > gap || rhythm.wait(habit) == MOST);
                }
                Seen::Paused => rhythm.burst_paused(gap),
                Seen::Again => rhythm.burst_paused_again(gap),
            }
            for habit in Habit::ALL {
                prop_assert!((LEAST..=MOST).contains(&rhythm.wait(habit)));
            }
            prop_assert!(rhythm.burst_wait() <= MOST_IN_BURST);
            prop_assert!(rhythm.is_sound(), "what was learned can be kept");
        }
    }

    #[test]
    fn any_bytes_are_something_learned_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rhythm");
        fs::write(&path, bytes).unwrap();
        prop_assert_eq!(kept::load(&path), Rhythm::default());
    }
}
