#include "mp4/cut_rule.hpp"
