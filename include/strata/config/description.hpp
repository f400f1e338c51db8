// What a model is, as one value: its levels, its depth, and how levels are merged.
// Source: docs/model.md; the defaults are those of the reference package.
#pragma once

#include <strata/config/basic_description.hpp>
#include <strata/merges/concatenate.hpp>

namespace strata::inline STRATA_ABI {

/// A description with the default merge.
using description = basic_description<concatenate>;

}  // namespace strata
