// expect: strata: the merge lacks 'void backward(p, own, acts, x, dx) const'
#include "parts.hpp"

struct broken_merge : complete_merge {
  void backward() const;
};
inline constexpr const auto& broken = description_of<broken_merge>;
using learns = strata::default_losses;

#include "use_members.hpp"
