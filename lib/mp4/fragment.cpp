#include "mp4/fragment.hpp"
