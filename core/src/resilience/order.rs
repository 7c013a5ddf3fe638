//! The order in which the models of a list are asked.

/// As listed, or by weighted chance, which a sticky key fixes.
pub(super) fn order(models: &[String], weights: &[f64], sticky: Option<&str>) -> Vec<String> {
    if weights.is_empty() {
        return models.to_vec();
    }
    let mut state = sticky.map_or_else(chance_seed, seed_of);
    let mut left: Vec<(usize, f64)> =
        (0..models.len()).map(|at| (at, weights.get(at).copied().filter(|weight| *weight > 0.0).unwrap_or(0.0))).collect();
    let mut ordered = Vec::new();
    while !left.is_empty() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        #[allow(clippy::cast_precision_loss)]
        let chance = (state >> 11) as f64 / (1u64 << 53) as f64;
        let mut point = chance * left.iter().map(|(_, weight)| weight).sum::<f64>();
        let at = left.iter().position(|(_, weight)| {
            point -= weight;
            point < 0.0
        });
        ordered.push(models[left.remove(at.unwrap_or(0)).0].clone());
    }
    ordered
}

fn seed_of(key: &str) -> u64 {
    // FNV-1a: the same in every process and version.
    key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn chance_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_choose_by_chance_and_a_sticky_key_always_the_same() {
        let models = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        assert_eq!(order(&models, &[], None), models);
        assert_eq!(order(&models, &[0.0, 0.0, 1.0], None)[0], "c");
        let sticky = order(&models, &[1.0, 1.0, 1.0], Some("user-7"));
        assert!((0..20).all(|_| order(&models, &[1.0, 1.0, 1.0], Some("user-7")) == sticky));
        let firsts: std::collections::BTreeSet<String> =
            (0..200).map(|_| order(&models, &[1.0, 1.0, 1.0], None).remove(0)).collect();
        assert_eq!(firsts.len(), 3);
    }
}
