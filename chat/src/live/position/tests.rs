use super::*;

fn base(known: i64, parts: &[(i64, i64)]) -> Base {
    let mut base = Base::at(known);
    for (end, head) in parts {
        base.tell(*end, *head);
    }
    base
}

#[test]
fn offsets_give_back_what_was_written_and_nothing_else() {
    let mut half = base(10, &[]);
    half.tell_half(11);
    let mut all = base(10, &[(12, 40), (30, 50), (31, 41)]);
    all.tell_half(13);
    for (tick, base) in [(10, base(10, &[])), (10, half), (20, base(10, &[(20, 300)])), (31, all)] {
        let position = Position::new(tick, &base);
        assert_eq!(Position::from_offsets(tick, &position.offsets()), Some(position.clone()));
        assert_eq!(position.base(), base);
    }
    let malformed: [&[i64]; 14] = [
        &[1],
        &[0, 0],
        // It knows more than it was told, or less than nothing.
        &[-1, 1],
        &[21, 0, 30],
        &[5, -1, 30],
        // Told, but in no part.
        &[5, 1],
        // A log that had not come so far.
        &[5, 0, 4],
        &[5, 0, -30],
        // Ends out of order, beyond the position, or twice the same.
        &[5, 0, 30, 3, 30, 2, 30],
        &[5, 0, 30, 6, 30],
        &[5, 0, 30, 5, 30],
        &[5, 0, 30, 3],
        &[5, 0, 30, 0, 31],
        &[9, 0, 9, 1, 9, 2, 9, 3, 9, 4, 9, 5, 9, 6, 9, 7, 9, 8, 9],
    ];
    for offsets in malformed {
        assert_eq!(Position::from_offsets(20, offsets), None, "{offsets:?}");
    }
    for offsets in [&[i64::MIN, 0, 1][..], &[1, i64::MAX, i64::MAX], &[1, 0, i64::MAX, 1], &[i64::MAX, 1, 1]]
    {
        assert_eq!(Position::from_offsets(i64::MAX, offsets).filter(|_| offsets[0] < 0), None);
    }
}

#[test]
fn parts_that_are_taken_together_say_no_more_than_they_know() {
    let mut base = Base::at(0);
    for end in 1..=20 {
        base.tell(end * 10, 1_000 + end);
    }
    assert_eq!(base.parts.len(), PARTS);
    assert_eq!((base.parts[0].end, base.parts[0].head), (130, 1_013));
    // What was read together stays together, and the last page may be older than the one before.
    base.tell(300, 900);
    base.tell(310, 900);
    assert_eq!((base.parts.len(), base.head()), (PARTS, 1_020));
    assert_eq!(base.parts[PARTS - 1], Part { end: 310, head: 900 });
}

#[test]
fn a_message_stood_where_its_ticks_say() {
    assert_eq!(stood_at(&[5], 5, 4), None);
    assert_eq!(stood_at(&[5, 8, 12], 5, 11), Some(8));
    assert_eq!(stood_at(&[5, 8, 12], 5, 100), Some(12));
    // Between its first tick and the next there were others that are forgotten.
    assert_eq!(stood_at(&[5, 80, 90], 80, 85), Some(80));
    assert_eq!(stood_at(&[5, 80, 90], 80, 79), None);
}
