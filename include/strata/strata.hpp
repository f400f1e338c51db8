// Everything except the backends, in data-flow order. Also include strata/cpu.hpp, strata/cuda.hpp or
// strata/reference.hpp.
// Source: docs/design.md.
#pragma once

#include <strata/core/platform.hpp>

// clang-format off
#include <strata/config/level.hpp>
#include <strata/config/description.hpp>
#include <strata/config/rules.hpp>
#include <strata/config/facts.hpp>
#include <strata/config/presets.hpp>
#include <strata/config/cost.hpp>
#include <strata/data/text.hpp>
#include <strata/data/file_list.hpp>
#include <strata/data/rows.hpp>
#include <strata/data/text_notice.hpp>
#include <strata/layers/embedding.hpp>
#include <strata/layers/dropout.hpp>
#include <strata/layers/compress.hpp>
#include <strata/layers/block.hpp>
#include <strata/layers/upsample.hpp>
#include <strata/layers/norm.hpp>
#include <strata/layers/head.hpp>
#include <strata/merges/merges.hpp>
#include <strata/losses/losses.hpp>
#include <strata/model/forward.hpp>
#include <strata/model/backward.hpp>
#include <strata/model/transformer.hpp>
#include <strata/model/generator.hpp>
#include <strata/train/trainer.hpp>
#include <strata/train/suggest.hpp>
#include <strata/io/weights.hpp>
// clang-format on
