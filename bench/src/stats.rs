//! Medians and percentiles.

/// The value below which `share` of the sorted `values` lie, 0 without any.
pub(crate) fn percentile(sorted: &[u32], share: f64) -> f64 {
    if sorted.is_empty() {
        return 0.0;
    }
    let rank = (share * sorted.len() as f64).ceil() as usize;
    f64::from(sorted[rank.clamp(1, sorted.len()) - 1])
}

/// p50 and p99 in milliseconds of latencies in microseconds.
pub(crate) fn p50_p99(mut micros: Vec<u32>) -> (f64, f64) {
    micros.sort_unstable();
    (percentile(&micros, 0.5) / 1_000.0, percentile(&micros, 0.99) / 1_000.0)
}

/// The middle one, or the mean of the two in the middle; 0 without any.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<u32> = (1..=200).collect();
        assert_eq!(percentile(&values, 0.5).to_bits(), 100_f64.to_bits());
        assert_eq!(percentile(&values, 0.99).to_bits(), 198_f64.to_bits());
        assert_eq!(percentile(&[7], 0.99).to_bits(), 7_f64.to_bits());
        assert_eq!(percentile(&[], 0.5).to_bits(), 0_f64.to_bits());
    }

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(median(vec![9.0, 1.0, 4.0]).to_bits(), 4_f64.to_bits());
        assert_eq!(median(vec![9.0, 1.0, 4.0, 2.0]).to_bits(), 3_f64.to_bits());
    }
}
