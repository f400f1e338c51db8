// expect: strata: the loss lacks 'double head_flops(index_type batch, index_type tokens) const'
#include "parts.hpp"

struct broken_loss : complete_loss {
  void head_flops() const;
};
inline constexpr const auto& broken = strata::presets::small;
using learns = strata::losses<broken_loss>;

#include "use_members.hpp"
