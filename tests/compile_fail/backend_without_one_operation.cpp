// expect: strata: this backend lacks the operation 'attention_backward'
#include <strata/reference.hpp>

struct partial : strata::reference<float> {};
void attention_backward(partial&, const strata::attention_shape&, strata::input<float, 3>, strata::input<float, 2>,
                        strata::input<float, 2>, strata::input<float, 3>, strata::input<float, 2>,
                        strata::output<float, 2>) = delete;

constexpr bool checked = strata::check_parts<strata::presets::small, partial, strata::inference>;
